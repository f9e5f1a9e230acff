"""``python -m bench.figures``: every figure of docs/performance.md, measured and written in.

Under ten minutes where nothing else runs; with other work beside it the figures are worth nothing,
except for ratios within one table.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.command import versions
from bench.crowd import in_a_process
from bench.machine import this_machine
from bench.reference import compare, shipped_bundles
from bench.report import as_json, check_target, write_text
from bench.roofline import Peak, measure_peak, measure_stages
from bench.scaling import KEYPOINTS, SIZES, thread_counts, time_bundle, time_network
from bench.synthetic import published_config, published_model
from bench.tables import Figures, refreshed, tables
from config.errors import EngineError, PuppetcamError, SettingsError
from config.network import load_network
from config.schema import EngineSettings
from models.bundle import Bundle, open_bundle

PARTS = ("reference", "pipeline", "roofline", "growth")
"""In this order: bundles made for the first are used by the others."""
AVATARS = (1, 4, 16)
STREAMS = (1, 2, 3, 4)
SECONDS = 10.0
NETWORK = "vox-256"


def measure(
    parts: Sequence[str],
    folder: Path,
    seconds: float = SECONDS,
    network: str = NETWORK,
    report: Callable[[str], object] = print,
) -> Figures:
    """Plain values, for JSON. ``seconds``: of each run of the pipeline; the rest goes by it.
    Bundles are made in ``folder``. Raises PuppetcamError."""
    machine = this_machine()
    figures: Figures = {
        "date": datetime.now().astimezone().isoformat(timespec="minutes"),
        "command": again(parts, seconds, network),
        "machine": str(machine),
        "versions": versions(),
    }
    silent: Callable[[str], object] = lambda line: None  # noqa: E731
    settings = EngineSettings(provider="cpu")
    if "reference" in parts:
        report("reference loop against puppetcam")
        found = compare(folder, load_network(network), settings, 0.4 * seconds, silent)
        figures["reference"] = asdict(found)
    bundles = shipped_bundles("default", folder, silent)
    if "pipeline" in parts:
        choices: list[tuple[str, list[str]]] = [("as it ships", [])]
        choices += [(one.precision, _choice(one)) for one in bundles]
        choices.append(("small", ["engine.bundle=small"]))
        figures["pipeline"] = {}
        for name, texts in choices:
            report(f"pipeline, {name}")
            figures["pipeline"][name] = _bench(texts, seconds, folder)
    threads = thread_counts(machine.usable_threads)
    if "roofline" in parts:
        report("peaks and parts")
        peaks = [measure_peak(count, 0.07 * seconds) for count in threads]
        figures["peaks"] = [asdict(peak) for peak in peaks]
        figures["stages"] = {}
        for bundle in (*bundles, *_published(folder, network)):
            name = bundle.name
            if bundle.precision not in name:
                name += f" {bundle.precision}"
            figures["stages"][name] = _stages(bundle, peaks[-1], seconds)
    if "growth" in parts:
        figures["growth"] = _growth(bundles, threads, seconds, report)
    return figures


def _choice(bundle: Bundle) -> list[str]:
    return [
        "engine.runtime=onnxruntime",
        f"engine.bundle={bundle.path}",
        f"engine.precision={bundle.precision}",
    ]


def _published(folder: Path, network: str) -> list[Bundle]:
    name = load_network(network).name
    paths = [folder / name, folder / f"{name}-int8"]
    return [open_bundle(path) for path in paths if path.is_dir()]


def _bench(texts: Sequence[str], seconds: float, folder: Path) -> Any:
    """What ``python -m bench`` says, in a process of its own: a fresh start and memory."""
    target = folder / "bench.json"
    command = [sys.executable, "-m", "bench", "--seconds", f"{seconds:g}", "--json", str(target)]
    done = subprocess.run([*command, *texts], capture_output=True, text=True, check=False)
    if done.returncode:
        raise EngineError(f"{shlex.join([*command[1:], *texts])} failed: {done.stderr.strip()}")
    return json.loads(target.read_text(encoding="utf-8"))


def _stages(bundle: Bundle, peak: Peak, seconds: float) -> list[dict[str, Any]]:
    runs = max(3, round(seconds if bundle.family == "first-order" else 3 * seconds))
    return [asdict(one) | {"share": one.share} for one in measure_stages(bundle, peak, runs)]


def _growth(
    bundles: Sequence[Bundle],
    threads: Sequence[int],
    seconds: float,
    report: Callable[[str], object],
) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {"size": [], "keypoints": [], "threads": []}
    most, each = threads[-1], 0.3 * seconds
    report("threads")
    for bundle in bundles:
        for count in threads:
            row = asdict(time_bundle(bundle, count, each))
            found["threads"].append(row | {"precision": bundle.precision})
    # The network of the usual size stands in both tables and is measured once.
    configs = [published_config(size=size) for size in SIZES]
    configs += [published_config(num_keypoints=count) for count in KEYPOINTS]
    times: dict[tuple[int, int], dict[str, Any]] = {}
    for config in configs:
        key = config.size, config.num_keypoints
        if key not in times:
            report(f"vox-256 at {config.size} px with {config.num_keypoints} keypoints")
            times[key] = asdict(time_network(published_model, config, most, each))
    found["size"] = [times[size, 10] for size in SIZES]
    found["keypoints"] = [times[256, count] for count in KEYPOINTS]
    report("avatars, streams")
    found["avatars"] = [in_a_process("avatars", count, seconds) for count in AVATARS]
    found["streams"] = [in_a_process("streams", count, 0.5 * seconds) for count in STREAMS]
    return found


def again(parts: Sequence[str], seconds: float, network: str) -> str:
    """The command that measures the same, whatever it is written to."""
    words = ["python", "-m", "bench.figures"]
    if set(parts) != set(PARTS):
        words += [word for part in parts for word in ("--part", part)]
    if seconds != SECONDS:
        words += ["--seconds", f"{seconds:g}"]
    if network != NETWORK:
        words += ["--network", network]
    return shlex.join(words)


def main(argv: list[str] | None = None) -> int:
    """Measure or read, then write; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.figures", description=__doc__)
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="a document to refresh: docs/performance.md"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument(
        "--read", type=Path, metavar="FILE", help="measure nothing: take what --json wrote"
    )
    parser.add_argument(
        "--part", action="append", choices=PARTS, default=[], help="default: all of them"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        metavar="N",
        help="of a pipeline's run (default 10)",
    )
    parser.add_argument(
        "--network", default=NETWORK, help="of the reference: a name in config/ or a YAML file"
    )
    parser.add_argument("--note", help="a warning to stand with the figures")
    arguments = parser.parse_args(argv)
    try:
        return _run(arguments)
    except PuppetcamError as error:
        print(f"bench.figures: {error}", file=sys.stderr)
        return error.exit_code


def _run(arguments: argparse.Namespace) -> int:
    if not 0 < arguments.seconds <= 600:
        raise SettingsError(f"--seconds must be above 0, at most 600; found {arguments.seconds:g}")
    output: Path | None = arguments.output
    text = ""
    try:
        if output is not None:
            text = output.read_text(encoding="utf-8")
        figures = json.loads(arguments.read.read_text("utf-8")) if arguments.read else None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{output if not text else arguments.read}: {error}") from error
    if arguments.json is not None:
        check_target("--json", arguments.json)
    if figures is None:
        with tempfile.TemporaryDirectory() as folder:
            parts = arguments.part or PARTS
            figures = measure(parts, Path(folder), arguments.seconds, arguments.network)
    if arguments.note:
        figures["note"] = arguments.note
    if arguments.json is not None:
        write_text("--json", arguments.json, as_json(figures))
    if output is not None:
        write_text("--output", output, refreshed(text, figures))
    else:
        print("\n\n".join("\n".join(lines) for lines in tables(figures).values()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

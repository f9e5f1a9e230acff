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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.command import versions
from bench.crowd import in_a_process
from bench.machine import this_machine
from bench.reference import compare, default_bundles
from bench.report import as_json, check_target, write_text
from bench.roofline import Peak, measure_peak, measure_stages
from bench.scaling import KEYPOINTS, SIZES, thread_counts, time_bundle, time_network
from bench.synthetic import published_config, published_model
from config.errors import EngineError, PuppetcamError, SettingsError
from config.network import load_network
from config.schema import EngineSettings
from models.bundle import Bundle, open_bundle

PARTS = ("reference", "pipeline", "roofline", "growth")
"""In this order: bundles made for the first are used by the others."""
AVATARS = (1, 4, 16)
STREAMS = (1, 2, 3, 4)
Figures = dict[str, Any]


def measure(
    parts: Sequence[str],
    folder: Path,
    seconds: float = 10.0,
    network: str = "vox-256",
    report: Callable[[str], object] = print,
) -> Figures:
    """Plain values, for JSON. ``seconds``: of each run of the pipeline; the rest goes by it.
    Bundles are made in ``folder``. Raises PuppetcamError."""
    machine = this_machine()
    figures: Figures = {
        "date": datetime.now().astimezone().isoformat(timespec="minutes"),
        "command": shlex.join(["python", "-m", "bench.figures", *sys.argv[1:]]),
        "machine": str(machine),
        "versions": versions(),
    }
    silent: Callable[[str], object] = lambda line: None  # noqa: E731
    settings = EngineSettings(provider="cpu")
    if "reference" in parts:
        report("reference loop against puppetcam")
        found = compare(folder, load_network(network), settings, 0.4 * seconds, silent)
        figures["reference"] = asdict(found)
    bundles = default_bundles(folder, silent)
    if "pipeline" in parts:
        choices: list[tuple[str, list[str]]] = [("as it ships", [])]
        choices += [(one.precision, _choice(one)) for one in bundles]
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


def refreshed(text: str, figures: Figures) -> str:
    """The document with the tables between its marks, ``<!-- NAME -->`` and ``<!-- /NAME -->``,
    made anew; those of parts that were not measured stay. Raises SettingsError."""
    for name, lines in tables(figures).items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = text.partition(start)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise SettingsError(f"the document has no marks {start.strip()} and {end}")
        body = "\n".join(lines)
        text = f"{before}{start}\n{body}\n\n{end}{after}"
    return text


def tables(figures: Figures) -> dict[str, list[str]]:
    """Mark -> lines of Markdown."""
    found = {"run": _run_lines(figures)}
    if "reference" in figures:
        found["reference"] = _reference_lines(figures["reference"])
    if "pipeline" in figures:
        found["pipeline"] = _pipeline_lines(figures["pipeline"])
        found["glass"] = _glass_lines(figures["pipeline"])
    if "peaks" in figures:
        found["peaks"] = _table(
            ["threads", "fp32 GMAC/s", "int8 GMAC/s", "copy GB/s"],
            [
                [str(one["threads"]), *(f"{one[key]:.0f}" for key in _PEAK)]
                for one in figures["peaks"]
            ],
        )
        found["stages"] = _stage_lines(figures["stages"])
    if "growth" in figures:
        found |= _growth_lines(figures["growth"])
    if {"reference", "pipeline"} <= figures.keys():
        found["bar"] = _bar_lines(figures)
    return found


_PEAK = ("fp32_gmacs", "int8_gmacs", "copy_gb_s")


def _choice(bundle: Bundle) -> list[str]:
    return ["engine.runtime=onnxruntime", f"engine.bundle={bundle.path}"]


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
    report("threads, avatars, streams")
    for bundle in bundles:
        for count in threads:
            row = asdict(time_bundle(bundle, count, each))
            found["threads"].append(row | {"precision": bundle.precision})
    found["avatars"] = [in_a_process("avatars", count, seconds) for count in AVATARS]
    found["streams"] = [in_a_process("streams", count, 0.5 * seconds) for count in STREAMS]
    return found


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _run_lines(figures: Figures) -> list[str]:
    packages = ", ".join(f"{name} {version}" for name, version in figures["versions"].items())
    lines = [f"{figures['date']}, `{figures['command']}`", "", figures["machine"], "", packages]
    if figures.get("note"):
        lines += ["", f"**{figures['note']}**"]
    return lines


def _reference_lines(found: Mapping[str, Any]) -> list[str]:
    rows = []
    for row in found["rows"]:
        most = "" if row["max_abs"] is None else f"{row['max_abs']:.1e}"
        psnr = "" if row["psnr_db"] is None else f"{row['psnr_db']:.1f}"
        rows.append(
            [
                f"{row['name']}: {row['network']} {row['precision']}, {row['provider']}",
                f"{row['ms']:.1f}", f"{1000 / row['ms']:.1f}", f"{row['ratio']:.2f}", most, psnr,
            ]
        )  # fmt: skip
    lines = _table(["", "ms", "fps", "x reference", "max abs", "PSNR dB"], rows)
    if found["golden_max_abs"] is not None:
        lines += [
            "",
            "fp32 against what the published code answers to pictures not rounded to uint8: "
            f"max abs {found['golden_max_abs']:.1e}.",
        ]
    return lines


def _pipeline_lines(found: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, report in found.items():
        whole, change = report["pipeline"], report["pipeline"]["avatar_change"]
        summary, step = whole["summary"], report["model"]["step"]
        joules = whole["energy"]["joules"]
        rows.append(
            [
                f"{name} ({report['bundle']['precision']}, {report['provider']})",
                f"{step['p50_ms']:.1f} / {step['p99_ms']:.1f}",
                f"{summary['fps']:.1f}",
                " / ".join(f"{summary['age'][key]:.0f}" for key in ("p50_ms", "p95_ms", "p99_ms")),
                f"{whole['jitter_ms']:.1f}",
                str(summary["dropped"]),
                f"{whole['process_ms']:.0f}",
                f"{change['shown_ms']:.0f} / {change['gap_ms']:.0f}" if change else "not seen",
                f"{summary['cpu_percent']:.0f}",
                "not told" if joules is None else f"{joules / max(summary['delivered'], 1):.2f}",
                f"{whole['memory_mb']:.0f}",
            ]
        )  # fmt: skip
    head = ["", "networks ms p50 / p99", "fps", "frame age ms p50 / p95 / p99", "jitter ms"]
    head += ["dropped", "first picture ms", "other avatar ms / gap ms", "processor %", "J a frame"]
    return _table([*head, "MB"], rows)


def _glass_lines(found: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            f"{name}, {glass['receiver']}",
            " / ".join(f"{glass['age'][key]:.0f}" for key in ("p50_ms", "p95_ms", "p99_ms")),
            f"{glass['jitter_ms']:.1f}",
            str(glass["new"]),
            str(glass["missed"]),
            str(glass["unreadable"]),
            f"{glass['first_ms']:.0f}",
        ]
        for name, report in found.items()
        for glass in report["glass"]
    ]
    head = ["", "picture age ms p50 / p95 / p99", "jitter ms", "new", "missed", "unreadable"]
    return _table([*head, "first ms"], rows)


def _stage_lines(found: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            f"{bundle}: {one['graph']}{'' if one['stage'] == 'all' else ', ' + one['stage']}",
            f"{one['gmac']:.2f}",
            f"{one['megabytes']:.1f}",
            f"{one['limit_ms']:.1f}",
            f"{one['ms']:.1f}",
            f"{100 * one['share']:.0f} %",
        ]
        for bundle, stages in found.items()
        for one in stages
    ]
    return _table(["", "GMAC", "MB", "limit ms", "measured ms", "share"], rows)


def _growth_lines(found: Mapping[str, Any]) -> dict[str, list[str]]:
    graphs = ("avatar_ms", "keypoints_ms", "frame_ms")
    names = ["avatar ms, once", "keypoints ms", "frame ms"]

    def times(rows: Sequence[Mapping[str, Any]], key: str) -> list[list[str]]:
        return [[str(row[key]), *(f"{row[one]:.1f}" for one in graphs)] for row in rows]

    return {
        "size": _table(["pixels", *names], times(found["size"], "size")),
        "keypoints": _table(["K", *names], times(found["keypoints"], "num_keypoints")),
        "threads": _table(
            ["default bundle, threads", *names],
            [
                [f"{row['precision']}, {row['threads']}", *(f"{row[one]:.1f}" for one in graphs)]
                for row in found["threads"]
            ],
        ),
        "avatars": _table(
            ["avatars", "ready after s", "MB", "change ms", "step ms"],
            [
                [
                    str(row["avatars"]), f"{row['start_s']:.1f}", f"{row['memory_mb']:.0f}",
                    f"{row['change_ms']:.0f}", f"{row['step_ms']:.1f}",
                ]
                for row in found["avatars"]
            ],
        ),
        "streams": _table(
            ["streams of 30 fps", "threads each", "fps each", "frame age p50 ms, worst", "MB"],
            [
                [
                    str(row["streams"]), str(row["threads_each"]), f"{row['fps_each']:.1f}",
                    f"{row['age_p50_ms']:.0f}", f"{row['memory_mb']:.0f}",
                ]
                for row in found["streams"]
            ],
        ),
    }  # fmt: skip


def _bar_lines(figures: Figures) -> list[str]:
    """What was promised, what was measured, and whether that is it."""
    rows: list[list[str]] = []

    def line(what: str, found: float | None, wanted: float, *, most: bool = False) -> None:
        if found is None:
            rows.append([what, "not measured", f"{wanted:g}", ""])
            return
        good = found <= wanted if most else found >= wanted
        sign = "<=" if most else ">="
        rows.append([what, f"{found:.4g}", f"{sign} {wanted:g}", "yes" if good else "**no**"])

    def way(network: str, precision: str, provider: str, key: str) -> float | None:
        for row in figures["reference"]["rows"]:
            if row["name"] == "puppetcam" and (row["network"], row["precision"]) == (
                network, precision,
            ) and row["provider"].startswith(provider):  # fmt: skip
                value = row[key]
                return None if value is None else float(value)
        return None

    ort, openvino = "onnxruntime", "openvino"
    line("vox-256 fp32, x reference", way("vox-256", "fp32", ort, "ratio"), 1.6)
    line("vox-256 fp32, max abs", way("vox-256", "fp32", ort, "max_abs"), 1e-3, most=True)
    line("vox-256 int8, ONNX Runtime, x reference", way("vox-256", "int8", ort, "ratio"), 3.5)
    line("vox-256 int8, OpenVINO, x reference", way("vox-256", "int8", openvino, "ratio"), 4.5)
    line("vox-256 int8, ONNX Runtime, PSNR dB", way("vox-256", "int8", ort, "psnr_db"), 30)
    line("vox-256 int8, OpenVINO, PSNR dB", way("vox-256", "int8", openvino, "psnr_db"), 30)
    own = [way("default", "int8", one, "ms") for one in (ort, openvino)]
    best = min((one for one in own if one is not None), default=None)
    reference = figures["reference"]["rows"][0]["ms"]
    line("default int8, whole step, x reference", best and reference / best, 35)
    line("default int8, whole step, fps", best and 1000 / best, 55)
    whole = figures["pipeline"]["as it ships"]["pipeline"]
    summary, change = whole["summary"], whole["avatar_change"]
    line("pipeline at 30 fps, delivered fps", summary["fps"], 29.5)
    line("frame age p50, ms", summary["age"]["p50_ms"], 25, most=True)
    line("frame age p99, ms", summary["age"]["p99_ms"], 45, most=True)
    line("first picture after the process's start, ms", whole["process_ms"], 2000, most=True)
    line("other avatar shown, ms", change and change["shown_ms"], 300, most=True)
    usual = change and change["usual_gap_ms"]
    line("longest gap then, in usual gaps", change and change["gap_ms"] / usual, 2, most=True)
    line("resident, MB", whole["memory_mb"], 400, most=True)
    return _table(["", "measured", "wanted", ""], rows)


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
        "--seconds", type=float, default=10.0, metavar="N", help="of a pipeline's run (default 10)"
    )
    parser.add_argument(
        "--network", default="vox-256", help="of the reference: a name in config/ or a YAML file"
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

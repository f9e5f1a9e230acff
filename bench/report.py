"""The benchmark as a command: what it measures, on what, as a table and as JSON."""

import argparse
import json
import os
import shlex
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.errors import SettingsError, SinkError, SourceError

if TYPE_CHECKING:
    from bench.latency import ModelTimes, SourceFacts
    from bench.machine import Machine
    from models.bundle import Bundle
    from realtime.metrics import Summary

MODEL_S = 2.0
"""How long the networks are measured alone, at most a quarter of the run."""


@dataclass(frozen=True, slots=True)
class Report:
    """One run of the benchmark."""

    date: str
    """ISO 8601, with the offset of the local time."""
    command: str
    machine: "Machine"
    bundle: "Bundle"
    provider: str
    """Where the networks really ran."""
    threads: int
    """Of the runtime, on the CPU."""
    versions: dict[str, str]
    avatar: str
    source: "SourceFacts"
    model: "ModelTimes"
    pipeline: "Summary"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        found = asdict(self)
        found["bundle"]["path"] = str(self.bundle.path)
        del found["bundle"]["versions"]
        return found

    def table(self) -> str:
        """For the terminal."""
        bundle, model, source = self.bundle, self.model, self.source
        digest = bundle.files[bundle.graph("frame").name][:12]
        width = 22
        lines = [
            f"{self.date}  {self.machine}",
            f"bundle {bundle.name}: {bundle.family}, {bundle.output_size} px, {bundle.precision}, "
            f"frame graph {digest}, on {self.provider}, threads {self.threads}",
            f"source {source.name}: {source.width}x{source.height} at {source.fps:g} fps, "
            f"avatar {self.avatar}",
            "",
            f"{'networks alone':{width}} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8}",
        ]
        for name in ("keypoints", "generate", "step"):
            one = getattr(model, name)
            lines.append(f"{name:{width}} {one.p50_ms:8.1f} {one.p95_ms:8.1f} {one.p99_ms:8.1f}")
        lines.append(f"{'avatar, once':{width}} {model.avatar_ms:8.1f}")
        lines += ["", "from the source to a sink", self.pipeline.table()]
        return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the benchmark."""
    parser.add_argument(
        "--source", default="performer", help="performer (default), camera:0, or a video file"
    )
    parser.add_argument(
        "--avatar", type=Path, action="append", default=[], metavar="PICTURE", help="of your own"
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, metavar="N", help="length of the run (default 10)"
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write the figures there; - prints them instead of the table"
    )
    parser.add_argument("--bundle", metavar="DIR", help="networks other than the shipped ones")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings in YAML")
    parser.add_argument("settings", nargs="*", metavar="group.key=value")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, then print or write. Returns the exit code."""
    if not 0 < arguments.seconds <= 3600:
        raise SettingsError(f"--seconds must be above 0, at most 3600; found {arguments.seconds:g}")
    target = Path(arguments.json) if arguments.json not in (None, "-") else None
    if target is not None:
        _check(target)
    report = measure(arguments)
    text = json.dumps(report.as_dict(), indent=2)
    if target is not None:
        _write(target, text + "\n")
    print(text if arguments.json == "-" else report.table())
    if not report.pipeline.delivered:
        raise SourceError(f"{arguments.source}: no frame of it reached the sink")
    return 0


def measure(arguments: argparse.Namespace) -> Report:
    """Run the benchmark as ``arguments`` ask for it."""
    from tqdm import tqdm

    from bench.latency import measure_model, measure_pipeline
    from bench.machine import this_machine
    from config.schema import load_settings
    from realtime.assembly import assemble
    from realtime.onnx_engine import runtime_threads
    from realtime.pipeline import Pipeline
    from realtime.puppeteer import Step

    settings = load_settings(arguments.config, arguments.settings)
    if arguments.bundle is not None:
        settings = replace(settings, engine=replace(settings.engine, bundle=arguments.bundle))
    date = datetime.now().astimezone().isoformat(timespec="seconds")
    seconds: float = arguments.seconds
    with assemble(settings, arguments.avatar[:1]) as assembly:
        avatar = assembly.avatars[0]
        model = measure_model(assembly.engine, avatar.image, min(MODEL_S, seconds / 4))
        with tqdm(desc="measuring", unit=" frames", disable=None, leave=False) as bar:

            def watch(_: Pipeline, __: Step) -> None:
                bar.update()

            summary, source = measure_pipeline(
                assembly.puppeteer, arguments.source, settings, seconds, watch=watch
            )
        return Report(
            date=date,
            command=shlex.join(["puppetcam", *sys.argv[1:]]),
            machine=this_machine(),
            bundle=assembly.engine.bundle,
            provider=assembly.engine.provider,
            threads=runtime_threads(settings.engine),
            versions=_versions(),
            avatar=avatar.name,
            source=source,
            model=model,
            pipeline=summary,
        )


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    names = ("puppetcam", "numpy", "opencv-python", "onnxruntime", "onnxruntime-gpu", "torch")
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _check(target: Path) -> None:
    if target.is_dir() or not target.parent.is_dir():
        found = "is a folder" if target.is_dir() else f"there is no folder {target.parent}"
        raise SinkError(f"--json {target}: {found}; name a file")


def _write(target: Path, text: str) -> None:
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=target.parent, prefix=f".{target.name}-", delete=False
        ) as file:
            file.write(text)
        Path(file.name).chmod(0o644)
        os.replace(file.name, target)
    except OSError as error:
        raise SinkError(f"--json {target} cannot be written: {error.strerror}") from error

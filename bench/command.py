"""The benchmark as a command: what it is asked for, and the order in which it measures."""

import argparse
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench.report import Report, as_csv, as_json, check_target, write_text
from config.errors import SettingsError, SourceError

if TYPE_CHECKING:
    from config.schema import Settings
    from realtime.camera import Source

MODEL_S = 2.0
"""How long the networks are measured alone, at most a quarter of the run."""
PARTS = ("pipeline", "model", "glass")
RECEIVERS = ("memory", "mjpeg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the benchmark."""
    parser.add_argument(
        "--source",
        default="performer:loop",
        help="performer:loop (default: a drawn camera that costs as little as a webcam), "
        "performer, camera:0, or a video file",
    )
    parser.add_argument(
        "--avatar", type=Path, action="append", default=[], metavar="PICTURE",
        help="of your own; a second one is what the run changes to",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, default=10.0, metavar="N",
        help="length of each part of the run (default 10)",
    )  # fmt: skip
    parser.add_argument(
        "--measure", action="append", choices=PARTS, default=[],
        help="may be given several times; default: all three",
    )  # fmt: skip
    parser.add_argument(
        "--receiver", action="append", default=[], metavar="R",
        help="what looks at the output, glass to glass: memory, mjpeg (HTTP) or udp (H.264) read "
        "by another program, or a virtual camera such as /dev/video4; may be given several times; "
        "default: memory and mjpeg",
    )  # fmt: skip
    parser.add_argument(
        "--json", metavar="FILE", help="write the figures there; - prints them instead of the table"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write them there, one a line")
    parser.add_argument(
        "--compare", nargs=2, type=Path, metavar=("A.json", "B.json"),
        help="measure nothing: a table of two reports and their ratios",
    )  # fmt: skip
    parser.add_argument(
        "--sweep", action="append", default=[], metavar="group.key=A,B",
        help="measure each value of this setting, e.g. engine.threads=1,2; may be given several "
        "times: then each combination",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, default=Path("sweep"), metavar="DIR",
        help="where the table and the plots of --sweep go (default: sweep)",
    )  # fmt: skip
    parser.add_argument("--bundle", metavar="DIR", help="networks other than the shipped ones")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings in YAML")
    parser.add_argument("settings", nargs="*", metavar="group.key=value")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, then print or write. Returns the exit code."""
    if arguments.compare is not None:
        from bench.comparison import compared, read_report

        print(compared(*(read_report(path) for path in arguments.compare)))
        return 0
    if not 0 < arguments.seconds <= 3600:
        raise SettingsError(f"--seconds must be above 0, at most 3600; found {arguments.seconds:g}")
    if arguments.sweep:
        from bench.sweep import run_sweep

        return run_sweep(arguments)
    target = Path(arguments.json) if arguments.json not in (None, "-") else None
    if target is not None:
        check_target("--json", target)
    if arguments.csv is not None:
        check_target("--csv", arguments.csv)
    report = measure(arguments)
    values = report.as_dict()
    if target is not None:
        write_text("--json", target, as_json(values))
    if arguments.csv is not None:
        write_text("--csv", arguments.csv, as_csv(values))
    print(as_json(values).strip() if arguments.json == "-" else report.table())
    delivered = report.pipeline.summary.delivered if report.pipeline else None
    if delivered == 0:
        raise SourceError(f"{arguments.source}: no frame of it reached the sink")
    for glass in report.glass:
        if not glass.new:
            raise SourceError(f"{arguments.source}: no frame of it reached {glass.receiver}")
    return 0


def settings_of(arguments: argparse.Namespace) -> "Settings":
    """The settings that the arguments ask for. Raises SettingsError."""
    from config.schema import load_settings

    settings = load_settings(arguments.config, arguments.settings)
    if arguments.bundle is None:
        return settings
    return replace(settings, engine=replace(settings.engine, bundle=arguments.bundle))


def measure(arguments: argparse.Namespace) -> Report:
    """Run the benchmark as ``arguments`` ask for it."""
    from time import perf_counter

    from tqdm import tqdm

    from bench.glass import counted_loop, measure_glass, open_receiver
    from bench.latency import measure_model, measure_pipeline
    from bench.machine import this_machine
    from realtime.assembly import assemble
    from realtime.camera import open_source
    from realtime.loop import NAME, drawn_pictures
    from realtime.onnx_session import runtime_threads
    from realtime.pipeline import Pipeline
    from realtime.placement import placement, summary
    from realtime.puppeteer import Step

    settings = settings_of(arguments)
    date = datetime.now().astimezone().isoformat(timespec="seconds")
    seconds: float = arguments.seconds
    parts = arguments.measure or PARTS

    def opened() -> "Source":
        return open_source(arguments.source, settings.camera)

    counted: Callable[[], Source] = counted_loop if arguments.source == NAME else opened
    pipeline = source = model = None
    glass = []
    with (
        assemble(settings, arguments.avatar) as assembly,
        tqdm(desc="measuring", unit=" frames", disable=None, leave=False) as bar,
    ):

        def watch(_: Pipeline, __: Step) -> None:
            bar.update()

        avatars = assembly.avatars
        # First of all, so that the start of the process and its memory are those of a live run.
        if "pipeline" in parts:
            began = perf_counter()
            if arguments.source == NAME:
                drawn_pictures()
            pipeline, source = measure_pipeline(
                assembly.puppeteer,
                opened,
                settings,
                seconds,
                other=avatars[1] if len(avatars) > 1 else None,
                made_s=perf_counter() - began,
                watch=watch,
            )
        if "model" in parts:
            model = measure_model(assembly.engine, avatars[0].image, min(MODEL_S, seconds / 4))
        if "glass" in parts:
            for text in arguments.receiver or RECEIVERS:
                receiver = open_receiver(text, settings)
                glass.append(
                    measure_glass(assembly, counted, settings, receiver, seconds, watch=watch)
                )
        return Report(
            date=date,
            command=shlex.join(["puppetcam", *sys.argv[1:]]),
            machine=this_machine(),
            bundle=assembly.engine.bundle,
            provider=assembly.engine.provider,
            threads=runtime_threads(assembly.engine.settings),
            placement=summary(placement(assembly.engine)),
            versions=versions(),
            avatar=avatars[0].name,
            source=source,
            model=model,
            pipeline=pipeline,
            glass=tuple(glass),
        )


def versions() -> dict[str, str]:
    """Package -> version of what counts."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    names = ("puppetcam", "numpy", "opencv-python", "onnxruntime", "onnxruntime-gpu", "openvino",
             "torch")  # fmt: skip
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

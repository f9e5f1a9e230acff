"""``puppetcam demo``: the built-in performer drives an avatar; no camera, GPU or display needed."""

import argparse
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from config.errors import SettingsError, SourceError

if TYPE_CHECKING:
    from realtime.pipeline import Pipeline
    from realtime.puppeteer import Step

PANEL_PX = 320
"""Side of each of the three pictures."""
TURN_S = 3.0
"""Several avatars take turns of at least this length."""
BAR = "{percentage:3.0f}% |{bar:30}| {n:.0f} of {total:.0f} s"


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of this command."""
    parser = commands.add_parser("demo", help="make a film to look at: needs no camera")
    parser.add_argument(
        "--output", type=Path, default=Path("demo.mp4"), metavar="FILE", help="default demo.mp4"
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, metavar="N", help="length (default 10)"
    )
    parser.add_argument(
        "--avatar",
        type=Path,
        action="append",
        default=[],
        metavar="PICTURE",
        help="of your own instead of a shipped one; several take turns",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings in YAML")
    parser.add_argument("settings", nargs="*", metavar="group.key=value")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    from tqdm import tqdm

    from bench.latency import measure_pipeline
    from config.schema import load_settings
    from puppetcam.panels import row_size, side_by_side
    from puppetcam.status import StatusLine, stop_signals
    from realtime.assembly import assemble
    from realtime.frame import Frame
    from realtime.sinks import VideoWriter

    seconds: float = arguments.seconds
    if not 0 < seconds <= 3600:
        raise SettingsError(f"--seconds must be above 0, at most 3600; found {seconds:g}")
    settings = load_settings(arguments.config, arguments.settings)
    width, height = row_size(3, PANEL_PX, captions=True)
    square = replace(settings.output, width=PANEL_PX, height=PANEL_PX)
    row = replace(settings.output, width=width, height=height)
    settings = replace(settings, output=square)
    with (
        StatusLine() as status,
        stop_signals() as stopped,
        closing(VideoWriter(arguments.output, row)) as film,
        assemble(settings, arguments.avatar) as assembly,
    ):
        avatars, puppeteer = assembly.avatars, assembly.puppeteer
        for avatar in avatars:
            for note in avatar.notes:
                status.say(f"avatar {avatar.name}: {note}")
        # Each at least TURN_S long: the first one has the driver's neutral pose to find.
        turns = max(1, min(len(avatars), int(seconds / TURN_S)))
        status.say(
            f"the built-in performer drives {', '.join(one.name for one in avatars[:turns])} for "
            f"{seconds:g} s on {assembly.engine.provider}"
        )
        began_s: float | None = None
        with tqdm(total=seconds, unit="s", bar_format=BAR, mininterval=_interval_s()) as bar:

            def watch(pipeline: "Pipeline", step: "Step") -> None:
                nonlocal began_s
                now = step.frame.captured_at
                began_s = now if began_s is None else began_s
                bar.update(min(now - began_s, seconds) - bar.n)
                shown = puppeteer.avatar or avatars[0]
                turn = avatars[min(int((now - began_s) / seconds * turns), turns - 1)]
                if turn is not shown:
                    pipeline.post(lambda owned: owned.set_avatar(turn))
                panels = {
                    "driving": step.result if step.driving is None else step.driving,
                    "avatar": shown.image,
                    "result": step.frame.image,
                }
                image = side_by_side(panels, PANEL_PX, captions=True)
                film.send(Frame(image, now, step.frame.index))

            summary, _ = measure_pipeline(
                puppeteer, "performer", settings, seconds, stopped=stopped.is_set, watch=watch
            )
    if not summary.delivered:
        raise SourceError(f"no frame was ready within {seconds:g} s; take more --seconds")
    print(summary.table())
    print(f"\nThe film: {arguments.output.resolve()}")
    print("Next, with a webcam: puppetcam run --avatar YOUR_PICTURE")
    print("Something missing?   puppetcam doctor")
    return 0


def _interval_s() -> float:
    return 0.2 if sys.stderr.isatty() else 5.0

"""``puppetcam demo``: the built-in performer drives an avatar; no camera, GPU or display needed."""

import argparse
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from config.errors import SettingsError, SourceError
from puppetcam import __version__
from puppetcam.consent import add_avatar_arguments, settled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime.avatar import Avatar
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
    add_avatar_arguments(parser, "of your own instead of a shipped one; several take turns")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings in YAML")
    parser.add_argument("settings", nargs="*", metavar="group.key=value")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    from tqdm import tqdm

    from bench.latency import measure_pipeline
    from config.schema import load_settings
    from provenance.signer import open_signer
    from puppetcam.panels import row_size, side_by_side
    from puppetcam.status import StatusLine, stop_signals
    from realtime.assembly import assemble
    from realtime.frame import Frame
    from realtime.performer import Performer
    from realtime.recording import VideoWriter

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
        assemble(settings, arguments.avatar, partial(settled, said=arguments.consent)) as assembly,
    ):
        avatars, puppeteer = assembly.avatars, assembly.puppeteer
        signer = open_signer(settings.credentials, assembly.engine.bundle, __version__)
        for avatar in avatars:
            for note in avatar.notes:
                status.say(f"avatar {avatar.name}: {note}")
        turns = Turns(avatars, seconds)
        status.say(
            f"the built-in performer drives {', '.join(one.name for one in turns.avatars)} for "
            f"{seconds:g} s on {assembly.engine.provider}"
        )
        if not settings.label.enabled:
            status.say(settings.label.notice)
        with tqdm(total=seconds, unit="s", bar_format=BAR, mininterval=_interval_s()) as bar:

            def watch(pipeline: "Pipeline", step: "Step") -> None:
                now = step.frame.captured_at
                turn = turns.at(now)
                bar.update(min(turns.passed_s, seconds) - bar.n)
                shown = puppeteer.avatar or turn
                if shown is not turn:
                    pipeline.post(lambda owned: owned.set_avatar(turn))
                driving = step.driving
                panels = {
                    "driving": step.result if driving is None else driving,
                    "avatar": shown.image,
                    "result": step.frame.image,
                }
                image = side_by_side(panels, PANEL_PX, captions=True)
                film.send(Frame(image, now, step.frame.index))

            times, _ = measure_pipeline(
                puppeteer, Performer, settings, seconds, stopped=stopped.is_set, watch=watch
            )
        film.close()
        if signer is not None and film.has_pictures:
            signer.sign(arguments.output, turns.avatars, composite=True)
    summary = times.summary
    if not summary.delivered:
        raise SourceError("the demo ended before the first picture was ready")
    print(summary.table())
    print(f"\nThe film: {arguments.output.resolve()}")
    print("Next, with a webcam: puppetcam run --avatar YOUR_PICTURE")
    print("Something missing?   puppetcam doctor")
    return 0


class Turns:
    """Whose turn it is: as many avatars as get ``TURN_S``, equally long, the first one at least
    (it has the driver's neutral pose to wait for)."""

    def __init__(self, avatars: "Sequence[Avatar]", seconds: float) -> None:
        self.avatars = tuple(avatars[: max(1, int(seconds / TURN_S))])
        self._seconds = seconds
        self._began_s: float | None = None
        self.passed_s = 0.0
        """Between the first and the last moment asked for."""

    def at(self, now: float) -> "Avatar":
        """The avatar for ``now``, seconds on any clock; the first call begins the show."""
        self._began_s = now if self._began_s is None else self._began_s
        self.passed_s = max(now - self._began_s, 0.0)
        number = int(self.passed_s / self._seconds * len(self.avatars))
        return self.avatars[min(number, len(self.avatars) - 1)]


def _interval_s() -> float:
    return 0.2 if sys.stderr.isatty() else 5.0

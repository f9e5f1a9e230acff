"""``puppetcam animate``: a picture and a driving video to a film, every frame, with its sound."""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from config.errors import AvatarError, SettingsError, SinkError, SourceError
from puppetcam import __version__
from puppetcam.composition import add_output_arguments, output_settings
from puppetcam.consent import add_avatar_arguments, settled

if TYPE_CHECKING:
    import threading

    from config.schema import Settings
    from realtime.avatar import Avatar
    from realtime.frame import Frame, Image
    from realtime.puppeteer import Step


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of this command."""
    parser = commands.add_parser("animate", help="make a film of an avatar from a driving video")
    add_avatar_arguments(parser, several=False)
    parser.add_argument("--driving", type=Path, required=True, metavar="VIDEO")
    parser.add_argument("--output", type=Path, required=True, metavar="FILM", help=".mp4, mov, mkv")
    parser.add_argument(
        "--absolute", action="store_true", help="take the driver's pose as it is, not its change"
    )
    parser.add_argument(
        "--side-by-side", action="store_true", help="driving | avatar | result in one picture"
    )
    parser.add_argument(
        "--best-frame",
        default="auto",
        metavar="auto|N",
        help="the driving frame that corresponds to the avatar: the most neutral one is looked for "
        "(default), or its number, from 0",
    )
    add_output_arguments(parser, "512 (default), 256 or WIDTHxHEIGHT, pixels")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings in YAML")
    parser.add_argument(
        "settings", nargs="*", metavar="group.key=value", help="e.g. label.size=0.1"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    from provenance.signer import open_signer
    from puppetcam.film import Film, check_output
    from puppetcam.panels import row_size
    from puppetcam.status import StatusLine, stop_signals
    from realtime.assembly import assemble
    from realtime.codec import FILM, TRANSPARENT_FILM
    from realtime.face import open_tracker
    from realtime.neutral import find_neutral

    driving: Path = arguments.driving
    output: Path = arguments.output
    number = _frame_number(arguments.best_frame)
    settings = _settings(arguments)
    size = settings.output.width, settings.output.height
    check_output(output)
    codec = FILM
    if settings.output.background == "alpha" and output.suffix.lower() == ".mov":
        codec = TRANSPARENT_FILM
    if arguments.side_by_side and (size[0] != size[1] or codec is not FILM):
        raise SettingsError(
            "--side-by-side shows opaque squares: leave out --size WIDTHxHEIGHT and transparency"
        )
    for name, path in (("--driving", driving), ("--avatar", arguments.avatar)):
        if path.exists() and output.exists() and path.samefile(output):
            raise SinkError(f"--output {output} is the file of {name}; give it another name")
    if arguments.avatar.is_dir():
        raise AvatarError(f"--avatar {arguments.avatar} is a folder; name one picture")
    total = _count_frames(driving)
    with (
        StatusLine() as status,
        stop_signals() as stopped,
        assemble(
            settings, [arguments.avatar], partial(settled, said=arguments.consent)
        ) as assembly,
    ):
        avatar, puppeteer = assembly.avatars[0], assembly.puppeteer
        for note in avatar.notes:
            status.say(f"avatar {avatar.name}: {note}")
        status.say(f"networks: {assembly.engine.bundle.name} on {assembly.engine.provider}")
        if not settings.label.enabled:
            status.say(settings.label.notice)
        signer = open_signer(settings.credentials, assembly.engine.bundle, __version__)
        # A tracker of its own: the search must not move the one that the film begins with.
        finder = open_tracker(settings.tracking, assembly.engine)
        face = None
        if number is None:
            frames = _frames(driving, "finding the best frame", total, stopped)
            found = find_neutral(frames, finder, settings.camera.mirror)
            if found is None:
                raise SourceError(
                    f"no face in any frame of {driving}; the driver's face must be seen from the "
                    "front, well lit, and at least tracking.min_face_px high"
                )
            number, face = found
            status.say(f"best frame: {number}, counted from 0")
        puppeteer.take_reference(_frame(driving, number), face)
        if settings.output.background == "alpha" and codec is FILM:
            status.say("only .mov keeps transparency: this film shows chroma-key green instead")
        width, height = size
        if arguments.side_by_side:
            width, height = row_size(3, height, captions=False)
        with Film(output, driving, width, height, codec) as film:
            frames = _frames(driving, "animating", total, stopped)
            for frame in frames:
                step = puppeteer.step(frame)
                shown = step.frame
                if arguments.side_by_side:
                    shown = replace(shown, image=_row(step, avatar, height), alpha=None)
                film.write(shown)
            sound = "with the sound" if film.has_sound else "without sound"
            film.finish()
        composite = arguments.side_by_side or settings.output.composite
        signed = signer is not None and signer.sign(output, [avatar], composite)
    marks = ", signed" if signed else ""
    print(f"{output}: {width}x{height}, {sound} of {driving.name}{marks}")
    return 0


def _frame_number(text: str) -> int | None:
    """None for "auto". Raises SettingsError."""
    if text == "auto":
        return None
    if not text.isdecimal():
        raise SettingsError(f"--best-frame must be auto or a frame number from 0, found {text!r}")
    return int(text)


def _settings(arguments: argparse.Namespace) -> "Settings":
    from dataclasses import replace

    from config.schema import load_settings

    arguments.size = arguments.size or "512"
    settings = load_settings(arguments.config, [*arguments.settings, *output_settings(arguments)])
    motion = settings.motion
    if arguments.absolute:
        motion = replace(motion, relative=False)
    return replace(settings, motion=motion)


def _count_frames(driving: Path) -> int | None:
    """How many frames the video says it has, for the progress bar; None where it does not say.

    Raises SourceError for what is no video.
    """
    import av

    from realtime.video import VideoFile

    VideoFile(driving).close()
    with av.open(str(driving), metadata_errors="replace") as container:
        stream = container.streams.video[0]
        if stream.frames:
            return int(stream.frames)
        if container.duration and stream.average_rate:
            return round(container.duration / av.time_base * stream.average_rate)
    return None


def _frames(
    driving: Path, label: str, total: int | None, stopped: "threading.Event"
) -> "Iterator[Frame]":
    """The video's frames, timed from its first one, with a progress bar.

    Raises KeyboardInterrupt once ``stopped`` is set.
    """
    import sys

    from tqdm import tqdm

    from realtime.video import VideoFile

    source = VideoFile(driving, clock=lambda: 0.0)
    every_s = 0.2 if sys.stderr.isatty() else 10.0
    try:
        with tqdm(total=total, desc=label, unit=" frames", mininterval=every_s) as bar:
            while (frame := source.read()) is not None:
                if stopped.is_set():
                    raise KeyboardInterrupt
                yield frame
                bar.update()
    finally:
        source.close()


def _frame(driving: Path, number: int) -> "Frame":
    """Frame ``number`` as if it came first. Raises SourceError where there are not so many."""
    from dataclasses import replace

    from realtime.video import VideoFile

    source = VideoFile(driving, clock=lambda: 0.0)
    count = 0
    try:
        while (frame := source.read()) is not None:
            if frame.index == number:
                return replace(frame, captured_at=0.0)
            count += 1
    finally:
        source.close()
    raise SourceError(f"--best-frame {number}: {driving} has {count} frames, 0 to {count - 1}")


def _row(step: "Step", avatar: "Avatar", size: int) -> "Image":
    from puppetcam.panels import side_by_side

    driving = step.driving
    panels = {
        "driving": step.result if driving is None else driving,
        "avatar": avatar.image,
        "result": step.frame.image,
    }
    return side_by_side(panels, size)

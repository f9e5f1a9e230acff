"""``python -m bench.watermark``: what the mark survives, what chance gives, how it looks.

driving FILE         10 s of the performer, to drive an avatar with ``puppetcam animate``
survival FILM ...    z of marked films after each treatment, as a table
null FOLDER          unmarked films: how often, and how far, the detector errs
look FOLDER          pictures and films in which a person can look for the mark
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from bench.treatments import TREATMENTS, Film
from config.errors import SettingsError
from config.schema import OutputSettings, load_settings
from provenance.detector import BLOCK_WINDOWS, THRESHOLD, levels, read_video, swings
from provenance.pattern import Fields
from provenance.places import part_sizes, whole_sizes
from provenance.watermark import CARRIER_HZ, CELLS, Watermark
from realtime.assembly import SHIPPED, assemble
from realtime.frame import Frame, Image
from realtime.performer import perform
from realtime.recording import VideoWriter
from realtime.video import VideoFile

FPS = 30
LONG_S = 10.0
"""How much of a film is looked at."""
FILMS = (".mp4", ".mov", ".mkv", ".webm", ".avi")


def frames(path: Path, seconds: float = LONG_S) -> Iterator[tuple[Image, float]]:
    """The first seconds of a film. Raises SourceError."""
    with closing(VideoFile(path, clock=lambda: 0.0)) as source:
        while (frame := source.read()) is not None and frame.captured_at < seconds:
            yield frame.image, frame.captured_at


# --- what it survives ---------------------------------------------------------------------------


def write_driving(path: Path, still: bool) -> None:
    """The performer's film; ``still``: hardly moving."""
    settings = OutputSettings(width=640, height=480, fps=FPS)
    with closing(VideoWriter(path, settings)) as film:
        for number in range(round((LONG_S + 0.5) * FPS)):
            t = number / FPS
            image, _ = perform(0.5 + 0.3 * math.sin(t) if still else 2.0 + t)
            film.send(Frame(image, t, number))


def write_live(path: Path, avatar: Path, overrides: Sequence[str]) -> None:
    """What the performer makes of an avatar, frame by frame on a clock of its own. Raises
    PuppetcamError."""
    settings = load_settings(None, overrides)
    with (
        assemble(settings, [avatar]) as assembly,
        closing(VideoWriter(path, settings.output)) as film,
    ):
        for number in range(round((LONG_S + 0.5) * FPS)):
            t = number / FPS
            step = assembly.puppeteer.step(Frame(perform(t)[0], t, number))
            film.send(step.frame)


def survival(films: Sequence[Path]) -> str:
    """Markdown: z after each treatment, and whether the recording could still be read."""
    lines = ["| treatment | " + " | ".join(path.stem for path in films) + " |"]
    lines.append("| --- |" + " --- |" * len(films))
    for name, treatment in TREATMENTS.items():
        cells = []
        for path in films:
            treated: Film = treatment(frames(path))
            reading = read_video(treated, LONG_S)
            cells.append(f"{reading.z:.1f}{'' if reading.payload else ' (no name)'}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


# --- what chance gives --------------------------------------------------------------------------


def measure_null(folder: Path, keys: int, every: int) -> str:
    """Markdown: unmarked films against the mark's pilot, and against random ones.

    A random pilot is as good a mark as ours, and no film was made with it: any find is false. So
    each block of a film gives as many independent trials as wanted: ``keys`` where the film is all
    that is seen, and at every ``every``-th block one of all other places.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in FILMS)
    if not paths:
        raise SettingsError(f"{folder} has no films; name a folder with unmarked ones")
    clips = [(path, read_video(frames(path, math.inf), 60.0)) for path in paths]
    worst = max(clips, key=lambda clip: clip[1].z)
    print(f"{len(clips)} films, whole search, own pilot: largest z {worst[1].z:.2f}", flush=True)

    rng = np.random.default_rng(0)
    log_p: list[float] = []
    whole: list[float] = []
    count = 0
    for fields, aspect in (block for path in paths for block in _blocks(path)):
        pilots = rng.choice(np.array([-1, 1], np.int8), (keys, CELLS, CELLS))
        log_p += [fields.search(whole_sizes(), pilot).log_p for pilot in pilots]
        if count % every == 0:
            whole.append(fields.search(part_sizes(aspect), pilots[0]).log_p)
        count += 1
    print(f"{count} stretches of film, {keys} random pilots each", flush=True)
    return "\n".join([*_null_lines("whole or cropped", log_p), *_null_lines("anywhere", whole)])


def _blocks(path: Path) -> Iterator[tuple[Fields, float]]:
    """Each stretch of ``BLOCK_WINDOWS`` windows, one beginning with every window."""
    found = [swing for _, _, swing in swings(frames(path, math.inf))]
    for first in range(max(1, len(found) - BLOCK_WINDOWS + 1)):
        some = found[first : first + BLOCK_WINDOWS]
        if some and all(one[0].shape == some[0][0].shape for one in some):
            yield Fields(levels(some)), some[0][0].shape[1] / some[0][0].shape[0]


def _null_lines(name: str, log_p: Sequence[float]) -> Iterator[str]:
    """How often a bound of P or less was met. A bound that holds is met less often than P."""
    values = np.array(log_p)
    yield f"{name}: {len(values)} windows, smallest bound {math.exp(values.min()):.2g}"
    for p in (1.0, 0.1, 0.01, 1e-3, 1e-4):
        count = int((values <= math.log(p)).sum())
        yield f"  bound <= {p:g}: {count} ({count / len(values):.2g})"
    # The tail falls as exp(-rate x): the mean excess over a high quantile tells its rate.
    high = np.sort(-values)[-max(20, len(values) // 100) :]
    rate = 1 / max(float((high - high[0]).mean()), 1e-9)
    needed = -math.log(2.9e-7)
    beyond = len(high) / len(values) * math.exp(-rate * (needed - float(high[0])))
    yield f"  tail falls with rate {rate:.2f}; at z {THRESHOLD:g} extrapolated: {beyond:.1g}"


# --- how it looks -------------------------------------------------------------------------------


def write_look(folder: Path) -> None:
    """Files to look at."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = Watermark()
    height, width = 480, 640
    ramp = np.zeros((height, width, 3), np.uint8)
    ramp[:] = np.linspace(8, 248, width).astype(np.uint8)[:, None]
    steps = np.zeros((height, width, 3), np.uint8)
    for number, level in enumerate((12, 30, 60, 90, 120, 160, 200, 240)):
        row, column = divmod(number, 4)
        steps[row * 240 : row * 240 + 240, column * 160 : column * 160 + 160] = level
    face, _ = perform(5.0, width=width, height=height)
    settings = OutputSettings(width=width, height=height, fps=FPS)
    pictures: dict[str, Image] = {"flat": steps, "ramp": ramp, "face": face}
    for name, picture in pictures.items():
        with closing(VideoWriter(folder / f"{name}.mp4", settings)) as film:
            for number in range(8 * FPS):
                image: Image = picture.copy()
                if number >= 4 * FPS:  # the first half is without, to compare
                    mark.apply(image, number / FPS)
                film.send(Frame(image, number / FPS, number))
        image = picture.copy()
        mark.apply(image, 0.1)
        change = image.astype(np.int16) - picture
        amplified = np.clip(128 + 40 * change, 0, 255).astype(np.uint8)
        beside = np.hstack([picture, image, amplified])
        cv2.imwrite(str(folder / f"{name}.png"), cv2.cvtColor(beside, cv2.COLOR_RGB2BGR))
    print(
        f"{folder}: films (4 s without, 4 s with the mark) and pictures (without, with, difference"
    )
    print("times 40). On the flat film:")
    print(flicker())


def flicker(levels_shown: Sequence[int] = (12, 30, 60, 120, 200, 240)) -> str:
    """Markdown: how the average of 8 x 8 pixels of a flat grey moves over one period."""
    lines = [
        "| grey level | swings by | changes by, from frame to frame at 30 fps |",
        "| --- | --- | --- |",
    ]
    mark = Watermark()
    for level in levels_shown:
        means = []
        for number in range(round(FPS / CARRIER_HZ)):
            image = np.full((512, 512, 3), level, np.uint8)
            mark.apply(image, number / FPS)
            means.append(image[..., 0].reshape(64, 8, 64, 8).mean(axis=(1, 3)) - level)
        swing, step = np.abs(means).max(), np.abs(np.diff(means, axis=0)).max()
        lines.append(f"| {level} | {swing:.2f} | {step:.2f} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of them; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.watermark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    driving = what.add_parser("driving")
    driving.add_argument("film", type=Path)
    driving.add_argument("--still", action="store_true")
    live = what.add_parser("live")
    live.add_argument("film", type=Path)
    live.add_argument("--avatar", type=Path, default=SHIPPED / "amara.png")
    live.add_argument("--settings", nargs="*", default=[], metavar="group.key=value")
    what.add_parser("survival").add_argument("films", type=Path, nargs="+")
    null = what.add_parser("null")
    null.add_argument("folder", type=Path)
    null.add_argument("--keys", type=int, default=40, help="random pilots for each stretch")
    null.add_argument("--every", type=int, default=4, help="stretches from one whole search on")
    what.add_parser("look").add_argument("folder", type=Path)
    arguments = parser.parse_args(argv)
    cv2.setNumThreads(1)
    match arguments.what:
        case "driving":
            write_driving(arguments.film, arguments.still)
        case "live":
            write_live(arguments.film, arguments.avatar, arguments.settings)
        case "survival":
            survival(arguments.films)
        case "null":
            print(measure_null(arguments.folder, arguments.keys, arguments.every))
        case "look":
            write_look(arguments.folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

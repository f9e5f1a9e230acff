"""``python -m bench.watermark``: what the mark survives, what chance gives, how it looks.

film FILE            10 s of an avatar, driven by the performer or by a clip
survival FILM ...    z of marked films after each treatment, as a table
null FOLDER ...      unmarked films: how often, and how far, the detector errs
noisy PICTURE        a noisy portrait, for ``film --avatar``
look FOLDER          pictures and films in which a person can look for the mark
cost                 what marking a frame takes, beside copying it
"""

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.treatments import TREATMENTS, Film
from config.errors import SettingsError
from config.schema import load_settings
from provenance.detector import BLOCK_WINDOWS, THRESHOLD, levels, read_video, swings
from provenance.pattern import Fields
from provenance.places import part_sizes, whole_sizes
from provenance.watermark import CARRIER_HZ, CELLS, Watermark
from realtime.assembly import SHIPPED, assemble
from realtime.avatar import read_picture
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


class _NoMark(Watermark):
    """For films that show what the detector says of unmarked ones: only here."""

    def apply(self, image: Image, time_s: float) -> None:
        pass


def write_film(
    path: Path, driver: str, avatar: Path, overrides: Sequence[str], marked: bool = True
) -> None:
    """What ``driver`` makes of an avatar, frame by frame on a clock of its own. Raises
    PuppetcamError.

    ``driver``: "performer", "still" (the performer hardly moving), or a clip, which goes back and
    forth where it is too short.
    """
    settings = load_settings(None, overrides)
    pictures: list[Image] = []
    if driver not in ("performer", "still"):
        pictures = [image for image, _ in frames(Path(driver))]

    def shown(t: float) -> Image:
        if not pictures:
            return perform(2.0 + t if driver == "performer" else 0.5 + 0.3 * math.sin(t))[0]
        turn = max(1, 2 * len(pictures) - 2)
        number = round(t * FPS) % turn
        return pictures[min(number, turn - number)]

    with (
        assemble(settings, [avatar]) as assembly,
        closing(VideoWriter(path, settings.output)) as film,
    ):
        if not marked:
            assembly.puppeteer.mark = _NoMark()
        for number in range(round((LONG_S + 0.5) * FPS)):
            t = number / FPS
            film.send(assembly.puppeteer.step(Frame(shown(t), t, number)).frame)


def write_noisy(path: Path) -> None:
    """A portrait as a bad camera takes it in the dark: hard for a mark."""
    picture = read_picture(SHIPPED / "henrik.png").astype(np.float32)
    picture += np.random.default_rng(0).normal(0, 24, picture.shape)
    noisy = np.clip(picture, 0, 255).astype(np.uint8)
    cv2.imwrite(str(path), cv2.cvtColor(noisy, cv2.COLOR_RGB2BGR))


def survival(films: Sequence[Path], only: Sequence[str]) -> str:
    """Markdown: z after each treatment, or ``only`` some, and whether the recording could still be
    read."""
    lines = ["| treatment | " + " | ".join(path.stem for path in films) + " |"]
    lines.append("| --- |" + " --- |" * len(films))
    for name in only or TREATMENTS:
        treatment = TREATMENTS[name]
        cells = []
        for path in films:
            treated: Film = treatment(frames(path))
            reading = read_video(treated, LONG_S)
            cells.append(f"{reading.z:.1f}{'' if reading.payload else ' (no name)'}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


# --- what chance gives --------------------------------------------------------------------------


def measure_null(folders: Sequence[Path], keys: int, anywhere: int) -> str:
    """Markdown: unmarked films against the mark's pilot, and against random ones.

    A random pilot is as good a mark as ours, and no film was made with it: any find is false. So
    each stretch of a film gives as many independent trials as wanted: ``keys`` where the film is
    all that is seen, ``anywhere`` in all other places.
    """
    paths = [
        path
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in FILMS
    ]
    if not paths:
        names = ", ".join(str(folder) for folder in folders)
        raise SettingsError(f"{names}: no films there; name a folder with unmarked ones")
    clips = [(path, read_video(frames(path, math.inf), 60.0)) for path in paths]
    worst = max(clips, key=lambda clip: clip[1].z)
    print(f"{len(clips)} films, whole search, own pilot: largest z {worst[1].z:.2f}", flush=True)

    rng = np.random.default_rng(0)
    log_p: list[float] = []
    whole: list[float] = []
    count = 0
    for weighed, aspect in (block for path in paths for block in _blocks(path)):
        pilots = rng.choice(np.array([-1, 1], np.int8), (keys, CELLS, CELLS))
        log_p += [_log_p(weighed, whole_sizes(), pilot) for pilot in pilots]
        sizes = part_sizes(aspect)
        whole += [_log_p(weighed, sizes, pilot) for pilot in pilots[:anywhere]]
        count += 1
    print(f"{count} stretches of film, {keys} random pilots each", flush=True)
    return "\n".join([*_null_lines("whole or cropped", log_p), *_null_lines("anywhere", whole)])


def _log_p(
    weighed: Sequence[Fields], sizes: Sequence[tuple[float, float]], pilot: NDArray[np.int8]
) -> float:
    """As the detector does: the better of the weighings, both of which count as tried."""
    best = min(fields.search(sizes, pilot).log_p for fields in weighed)
    return best + math.log(len(weighed))


def _blocks(path: Path) -> Iterator[tuple[list[Fields], float]]:
    """Each stretch of ``BLOCK_WINDOWS`` windows, one beginning with every window."""
    found = [swing for _, _, swing in swings(frames(path, math.inf))]
    for first in range(max(1, len(found) - BLOCK_WINDOWS + 1)):
        some = found[first : first + BLOCK_WINDOWS]
        if some and all(one[0].shape == some[0][0].shape for one in some):
            weighed = [Fields(level) for level in levels(some)]
            yield weighed, some[0][0].shape[1] / some[0][0].shape[0]


def _null_lines(name: str, log_p: Sequence[float]) -> Iterator[str]:
    """How often a bound of P or less was met. A bound that holds is met less often than P."""
    if not log_p:
        return
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
    pictures: dict[str, Image] = {"flat": steps, "ramp": ramp, "face": face}
    for name, picture in pictures.items():
        film: list[Image] = []
        for number in range(8 * FPS):
            film.append(picture.copy())
            if number >= 4 * FPS:  # the first half is without, to compare
                mark.apply(film[-1], number / FPS)
        _write_lossless(folder / f"{name}.mp4", film)
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


def _write_lossless(path: Path, film: Sequence[Image]) -> None:
    """H.264 without loss, which mpv, VLC and ffplay show: what is coded otherwise has no more
    faint swing on flat areas."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"qp": "0"})
        stream.height, stream.width = film[0].shape[:2]
        stream.pix_fmt = "yuv444p"
        for image in film:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def least_contrast_seen(rate_hz: float) -> float:
    """Contrast of the grating that is seen best of all that swing at this rate: Kelly 1979, Motion
    and vision II."""
    cycles = np.geomspace(0.1, 30, 400)
    speed, turns = rate_hz / cycles, 2 * math.pi * cycles
    seen = (6.1 + 7.3 * np.abs(np.log10(speed / 3)) ** 3) * speed * turns**2
    return 1 / float((seen * np.exp(-2 * turns * (speed + 2) / 45.9)).max())


def flicker(levels_shown: Sequence[int] = (0, 8, 16, 48, 96, 120, 180, 250)) -> str:
    """Markdown: how cells of a flat grey swing at the mark's rate, as the screen shows it."""
    least = least_contrast_seen(CARRIER_HZ)
    lines = [
        f"| grey level | swing, levels | contrast | of the least that is seen ({least:.2%}) |",
        "| --- | --- | --- | --- |",
    ]
    mark, count = Watermark(), round(FPS / CARRIER_HZ)
    # sRGB on a screen whose white is 1, with the glare of its reference conditions.
    grey = np.arange(256) / 255
    light = np.where(grey <= 0.04045, grey / 12.92, ((grey + 0.055) / 1.055) ** 2.4) + 0.0025
    for level in levels_shown:
        swings = np.zeros((2, CELLS, CELLS), np.complex128)
        for number in range(count):
            image = np.full((512, 512, 3), level, np.uint8)
            mark.apply(image, number / FPS)
            turn = 2 / count * np.exp(-2j * math.pi * CARRIER_HZ * number / FPS)
            shown = np.stack([image[..., 0], light[image[..., 0]]])
            swings += turn * shown.reshape(2, CELLS, 16, CELLS, 16).mean(axis=(2, 4))
        far, contrast = float(np.abs(swings[0]).max()), float(np.abs(swings[1]).max())
        contrast /= float(light[level])
        lines.append(f"| {level} | {far:.2f} | {contrast:.2%} | {contrast / least:.2f} |")
    return "\n".join(lines)


# --- what it costs ------------------------------------------------------------------------------


def measure_cost(side: int = 512, count: int = 200) -> str:
    """Marking and copying a picture in turns: the best and the median of each, and their ratio."""
    mark, image = Watermark(), np.full((side, side, 3), 128, np.uint8)
    marking, copying = [], []
    for number in range(count):
        began = time.perf_counter()
        image.copy()
        between = time.perf_counter()
        mark.apply(image, number / FPS)
        copying.append(between - began)
        marking.append(time.perf_counter() - between)
    rows = [(np.min(one) * 1e3, np.median(one) * 1e3) for one in (marking, copying)]
    told = " and ".join(f"{best:.3f} (median {middle:.3f}) ms" for best, middle in rows)
    ratio = rows[0][1] / rows[1][1]
    return f"{side}x{side}, one thread: marking and copying take {told}, {ratio:.1f} to 1"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of them; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.watermark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    film = what.add_parser("film")
    film.add_argument("film", type=Path)
    film.add_argument(
        "--driver", default="performer", metavar="D", help="performer, still, or a clip's FILE"
    )
    film.add_argument("--avatar", type=Path, default=SHIPPED / "amara.png")
    film.add_argument("--unmarked", action="store_true", help="for null")
    film.add_argument("--settings", nargs="*", default=[], metavar="group.key=value")
    what.add_parser("noisy").add_argument("picture", type=Path)
    lives_on = what.add_parser("survival")
    lives_on.add_argument("films", type=Path, nargs="+")
    lives_on.add_argument("--only", nargs="*", default=[], choices=TREATMENTS, metavar="TREATMENT")
    null = what.add_parser("null")
    null.add_argument("folders", type=Path, nargs="+")
    null.add_argument("--keys", type=int, default=80, help="random pilots for each stretch")
    null.add_argument("--anywhere", type=int, default=3, help="of them for the whole search")
    what.add_parser("look").add_argument("folder", type=Path)
    what.add_parser("cost")
    arguments = parser.parse_args(argv)
    cv2.setNumThreads(1)
    match arguments.what:
        case "film":
            write_film(
                arguments.film,
                arguments.driver,
                arguments.avatar,
                arguments.settings,
                not arguments.unmarked,
            )
        case "noisy":
            write_noisy(arguments.picture)
        case "survival":
            survival(arguments.films, arguments.only)
        case "null":
            print(measure_null(arguments.folders, arguments.keys, arguments.anywhere))
        case "look":
            write_look(arguments.folder)
        case "cost":
            print(measure_cost())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

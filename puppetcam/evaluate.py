"""``puppetcam evaluate``: how well a bundle animates, measured on clips by an outsider."""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.errors import AvatarError, SinkError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.schema import Settings
    from realtime.avatar import Avatar
    from realtime.engine import Engine
    from realtime.frame import Image
    from training.driver import Driver, Sampling
    from training.evaluate import ClipMeasures

CELL_PX = 192
"""Side of a picture on the contact sheet."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of this command."""
    parser = commands.add_parser("evaluate", help="measure how well a bundle animates")
    parser.add_argument(
        "--bundle", default="default", metavar="DIR", help="default: the one that is shipped"
    )
    parser.add_argument(
        "--clips", type=Path, required=True, metavar="DIR", help="videos of one person each"
    )
    parser.add_argument(
        "--avatars",
        type=Path,
        metavar="DIR",
        help="pictures to drive, one after the other; default: the person of another clip",
    )
    parser.add_argument(
        "--max-frames", type=_count, default=300, metavar="N", help="of each clip (default 300)"
    )
    parser.add_argument(
        "--every", type=_count, default=2, metavar="N", help="measure every Nth frame (default 2)"
    )
    parser.add_argument(
        "--readings",
        type=int,
        choices=range(1, 5),
        default=4,
        help="how often each picture is read: as it is, mirrored, turned, and both; the mean of "
        "these errs less (default 4)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE", help="a picture of it all to look at, e.g. sheet.png"
    )
    parser.add_argument(
        "--install-landmarker",
        action="store_true",
        help="install MediaPipe FaceMesh, which measures, into an environment of its own",
    )
    parser.add_argument(
        "settings", nargs="*", metavar="group.key=value", help="e.g. smoothing.enabled=false"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    from tqdm import tqdm

    from config.schema import load_settings
    from realtime.engine import open_engine
    from training.driver import Sampling, find_clips
    from training.evaluate import measure, medians
    from training.landmarker import NAME, Landmarker

    settings = load_settings(None, arguments.settings)
    settings = replace(settings, engine=replace(settings.engine, bundle=arguments.bundle))
    sampling = Sampling(arguments.max_frames, arguments.every)
    clips = find_clips(arguments.clips)
    sheet: Path | None = arguments.sheet
    if sheet and (sheet.suffix.lower() not in (".png", ".jpg") or not sheet.parent.is_dir()):
        raise SinkError(f"--sheet {sheet} must be a .png or .jpg in a folder that exists")
    engine = open_engine(settings.engine)
    try:
        _offer_landmarker(arguments.install_landmarker)
        with Landmarker(arguments.readings) as landmarker:
            pictures = _pictures(arguments.avatars, engine, settings)
            drivers = _drivers(clips, engine, settings, sampling)
            pictures = pictures or _portraits(drivers, engine, sampling)
            pairs = [(one, pictures[n % len(pictures)]) for n, one in enumerate(drivers)]
            found: list[ClipMeasures] = []
            for driver, avatar in tqdm(pairs, desc="measuring", unit=" clips"):
                try:
                    found.append(measure(driver, avatar, engine, settings, landmarker, sampling))
                except (AvatarError, SourceError) as error:
                    _say(f"left out: {error}")
    finally:
        engine.close()
    if not found:
        raise SourceError(f"--clips {arguments.clips}: nothing could be measured, see above")
    middle = medians(found)
    if sheet:
        _write_sheet(found, sheet)
        _say(f"contact sheet: {sheet}")
    if arguments.json:
        about = {"bundle": engine.bundle.name, "provider": engine.provider, "landmarker": NAME}
        about |= {"readings": arguments.readings, **sampling._asdict()}
        values = about | {"median": middle, "clips": [clip.values() for clip in found]}
        print(json.dumps(_without_nan(values), indent=2))
    else:
        print(_tables([*(clip.values() for clip in found), {"name": "median"} | middle]))
    return 0


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a number from 1, found {text!r}")
    return int(text)


def _say(text: str) -> None:
    print(f"puppetcam: {text}", file=sys.stderr)


def _offer_landmarker(wanted: bool) -> None:
    """Install the landmarker where it is missing and the user says so."""
    from training.landmarker import DISK_MB, NAME, environment, install, is_installed

    if is_installed():
        return
    if not wanted and sys.stdin.isatty():
        question = f"Install {NAME} with pip into {environment()} ({DISK_MB} MB)? [y/N] "
        print(question, end="", file=sys.stderr, flush=True)
        wanted = sys.stdin.readline().strip().lower() in ("y", "yes")
    if wanted:
        install(_say)


def _drivers(
    clips: Sequence[Path], engine: "Engine", settings: "Settings", sampling: "Sampling"
) -> "list[Driver]":
    from tqdm import tqdm

    from training.driver import look_through

    looks = look_through(clips, engine, settings, sampling)
    drivers: list[Driver] = []
    for look in tqdm(looks, desc="looking through", total=len(clips), unit=" clips"):
        if isinstance(look, str):
            _say(f"left out: {look}")
        else:
            drivers.append(look)
    if not drivers:
        raise SourceError("no face in any clip; each needs one, seen from the front, well lit")
    return drivers


def _pictures(folder: Path | None, engine: "Engine", settings: "Settings") -> "list[Avatar]":
    """The avatars of a folder; none where none is given."""
    from training.driver import load_pictures

    if folder is None:
        return []
    pictures: list[Avatar] = []
    for picture in load_pictures(folder, engine, settings):
        if isinstance(picture, str):
            _say(f"left out: {picture}")
        else:
            pictures.append(picture)
    if not pictures:
        raise AvatarError(f"--avatars {folder}: no picture in it can be used as an avatar")
    return pictures


def _portraits(
    drivers: "Sequence[Driver]", engine: "Engine", sampling: "Sampling"
) -> "list[Avatar]":
    """For each clip the person of another one."""
    from training.driver import other_person, portrait

    others = [other_person(drivers, number) for number in range(len(drivers))]
    for driver, other in zip(drivers, others, strict=True):
        if driver is other:
            _say(f"{driver.name} drives himself: no other person; give --avatars")
    return [portrait(other, engine, sampling) for other in others]


def _without_nan(value: Any) -> Any:
    """JSON knows no "not a number": null."""
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _tables(rows: Sequence[dict[str, Any]]) -> str:
    """Tables, a row a clip and the medians last."""
    parts = []
    for title, of in (
        ("self (the clip's first frame, absolute)", lambda row: row["self"]),
        ("cross (another person, relative)", lambda row: _flat(row["cross"])),
        ("cross, correlation over time", lambda row: row["cross"]["correlation"]),
        ("cross, gain", lambda row: row["cross"]["gain"]),
        ("cross, tells (units and ranges: verify --tells)", lambda row: row["cross"]["tells"]),
    ):
        values = [(str(row["name"]), of(row)) for row in rows]
        names = list(values[0][1])
        wide = max(len(name) for name, _ in values)
        lines = [title, " " * wide + "".join(f"  {name:>9}" for name in names)]
        for row_name, figures in values:
            cells = "".join(f"  {figures[name]:>{max(9, len(name))}.3f}" for name in names)
            lines.append(f"{row_name:<{wide}}{cells}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _flat(cross: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in cross.items() if isinstance(value, float)}


def _write_sheet(clips: "Sequence[ClipMeasures]", path: Path) -> None:
    """Three rows a clip: driving, copied (self), driven (cross). Raises SinkError."""
    import cv2
    import numpy as np

    parts = [np.concatenate(list(_rows(clip))) for clip in clips]
    columns = 1 if len(parts) < 4 else 2
    parts += [np.zeros_like(parts[0])] * (-len(parts) % columns)
    picture = np.concatenate(
        [np.concatenate(parts[n : n + columns], axis=1) for n in range(0, len(parts), columns)]
    )
    try:
        written = cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    except cv2.error as error:
        raise SinkError(f"--sheet {path} cannot be written: {error.err}") from error
    if not written:
        raise SinkError(f"--sheet {path} cannot be written; name a file where you may write")


def _rows(clip: "ClipMeasures") -> "Iterator[Image]":
    from puppetcam.panels import side_by_side

    captions = [moment.caption for moment in clip.moments]
    for kind in ("driving", "copied", "driven"):
        pictures = [getattr(moment, kind) for moment in clip.moments]
        panels = dict(zip(captions, pictures, strict=True))
        yield side_by_side(panels, CELL_PX, captions=kind == "driving")

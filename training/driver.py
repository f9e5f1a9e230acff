"""Clips that drive, looked through once, and the avatars that they drive.

A clip's most neutral frame is where relative motion begins, and an avatar for others.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from config.errors import AvatarError, SourceError
from config.schema import Settings
from realtime.assembly import PICTURES
from realtime.avatar import TIGHTEST, Avatar, load_avatar
from realtime.crop import Crop
from realtime.engine import Engine
from realtime.face import Face, open_tracker
from realtime.frame import Frame
from realtime.neutral import find_neutral
from realtime.video import VideoFile
from training.data import identities_of

VIDEOS = (".mp4", ".mov", ".mkv", ".avi", ".webm")


class Sampling(NamedTuple):
    """How much of each clip is used."""

    max_frames: int = 300
    """The clip's first so many frames drive."""
    every: int = 2
    """Every so manieth of them is measured."""


@dataclass(frozen=True, slots=True)
class Driver:
    """A clip that was looked through once."""

    name: str
    path: Path
    person: str
    neutral: int
    """Number of its most neutral frame."""
    face: Face
    """The face in it."""
    view: Crop
    """The square that is measured, fixed for the clip."""


def find_clips(folder: Path) -> list[Path]:
    """The videos in a folder and in its folders, by name. Raises SourceError without any."""
    if not folder.is_dir():
        raise SourceError(f"--clips {folder}: there is no such folder; name one that holds videos")
    found = [*folder.glob("*"), *folder.glob("*/*")]
    clips = sorted(path for path in found if path.suffix.lower() in VIDEOS)
    if not clips:
        raise SourceError(f"--clips {folder}: no video in it ({', '.join(VIDEOS)})")
    return clips


def look_through(
    clips: Sequence[Path], engine: Engine, settings: Settings, sampling: Sampling
) -> Iterator[Driver | str]:
    """For each clip what is needed to begin, or why it cannot be used.

    A square clip is taken as it is framed; of others the square around the neutral face.
    """
    people = {folder: identities_of(folder) for folder in {path.parent.parent for path in clips}}
    for path in clips:
        name = path.parent.name if path.stem == "video" else path.stem
        tracker = open_tracker(settings.tracking, engine)
        try:
            found = find_neutral(frames_of(path, sampling), tracker)
            first = next(frames_of(path, sampling)).image
        except SourceError as error:
            yield str(error)
            continue
        if found is None:
            yield f"{path}: no face in its first {sampling.max_frames} frames"
            continue
        square = first.shape[0] == first.shape[1]
        around = Crop.around(found[1].landmarks).within(first, TIGHTEST)
        view = Crop.whole(first) if square else around
        person = people[path.parent.parent].get(name, name)
        yield Driver(name, path, person, *found, view)


def load_pictures(folder: Path, engine: Engine, settings: Settings) -> Iterator[Avatar | str]:
    """Each picture of a folder as an avatar, or why it cannot be one. Raises AvatarError."""
    if not folder.is_dir():
        raise AvatarError(f"--avatars {folder}: there is no such folder; name one with pictures")
    tracker = open_tracker(settings.tracking, engine)
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in PICTURES:
            try:
                yield load_avatar(path, tracker, engine.bundle.output_size)
            except AvatarError as error:
                yield str(error)


def portrait(driver: Driver, engine: Engine, sampling: Sampling) -> Avatar:
    """A clip's most neutral frame as an avatar, as ``load_avatar`` makes one of a picture."""
    full, landmarks = neutral_frame(driver, sampling).image, driver.face.landmarks
    crop = Crop.around(landmarks).within(full, TIGHTEST)
    image = crop.cut(full, engine.bundle.output_size)
    return Avatar(driver.name, image, full=full, crop=crop, landmarks=landmarks)


def other_person(drivers: Sequence[Driver], number: int) -> Driver:
    """Whom driver ``number`` drives where no avatars are given: the next one who is not himself.

    Himself where there is nobody else.
    """
    others = [*drivers[number + 1 :], *drivers[:number]]
    driver = drivers[number]
    return next((one for one in others if one.person != driver.person), driver)


def frames_of(path: Path, sampling: Sampling) -> Iterator[Frame]:
    """A clip's first frames. Raises SourceError."""
    source = VideoFile(path, clock=lambda: 0.0)
    try:
        yield from itertools.islice(iter(source.read, None), sampling.max_frames)
    finally:
        source.close()


def neutral_frame(driver: Driver, sampling: Sampling) -> Frame:
    """The driver's neutral frame."""
    return next(itertools.islice(frames_of(driver.path, sampling), driver.neutral, None))

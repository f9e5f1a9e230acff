"""People whose pictures show a quantiser what a network's numbers are like."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from config.errors import AvatarError, SourceError
from config.schema import TrackingSettings
from drawing.appearance import random_appearance
from drawing.moment import random_moment
from realtime.assembly import PICTURES
from realtime.avatar import TIGHTEST, load_avatar
from realtime.crop import Crop
from realtime.engine import Engine
from realtime.face import Tracker, open_tracker
from realtime.frame import Image
from realtime.onnx_engine import OnnxEngine
from realtime.performer import draw
from realtime.planes import empty_planes, fill_planes, resized
from realtime.video import VideoFile

VIDEOS = (".mp4", ".mov", ".mkv", ".avi", ".webm")
"""What counts as a video in a folder."""
PEOPLE = 16
MOMENTS = 5
"""Pictures of each person: the first is the avatar, the others drive it."""
EVERY = 30
"""Frames of a video from one picture to the next: neighbours are nearly the same."""
NEARER = 0.8
"""Part of an avatar's side that a driver's landmarks are read in."""
CANVAS = 400
"""Side of drawn pictures before the crop, pixels."""

Person = Sequence[Image]
"""Two or more pictures of one person, (S, S, 3) uint8 RGB, S = ``bundle.output_size``."""


@dataclass(frozen=True, slots=True)
class Drive:
    """One person's picture driven by another of his."""

    avatar: Image
    feeds: dict[str, NDArray[np.float32]]
    """What the frame graph takes, by the names of ``models.bundle``."""


def drawn_people(size: int, people: int = PEOPLE, seed: int = 0) -> list[Person]:
    """Drawn people in unrelated moments. A second or so each."""
    return [_drawn_person(size, seed + number) for number in range(people)]


def people_in(
    folder: Path, engine: Engine, report: Callable[[str], object], people: int = PEOPLE
) -> list[Person]:
    """The people of a folder's videos (one each) and pictures, at any depth; of many, ``people``
    evenly spread. A picture is driven by its mirror image. ``report`` gets a line for each file
    that is left out. Raises AvatarError where no face is found at all.
    """
    if not folder.is_dir():
        raise AvatarError(f"{folder} is no folder; name one with pictures or videos of faces")
    files = [path for path in sorted(folder.rglob("*")) if _kind(path) in PICTURES + VIDEOS]
    chosen = np.linspace(0, len(files) - 1, min(people, len(files))).round().astype(int)
    tracker = open_tracker(TrackingSettings(), engine)
    size = engine.bundle.output_size
    found: list[Person] = []
    for path in (files[index] for index in chosen):
        try:
            if _kind(path) in VIDEOS:
                found.append(_filmed_person(path, tracker, size))
            else:
                image = load_avatar(path, tracker, size).image
                found.append([image, np.ascontiguousarray(image[:, ::-1])])
        except (AvatarError, SourceError) as error:
            report(f"left out: {error}")
    if not found:
        raise AvatarError(
            f"{folder}: no face in any picture or video ({len(files)} found); name a folder of "
            "portraits or of videos of one person each"
        )
    return found


def drives(engine: OnnxEngine, people: Sequence[Person]) -> Iterator[Drive]:
    """Each person's first picture driven by his others, as they are: no relative motion."""
    avatar_planes = empty_planes(engine.bundle.size)
    keypoint_planes = empty_planes(engine.bundle.keypoint_size)

    def keypoints(image: Image, prefix: str) -> dict[str, NDArray[np.float32]]:
        fill_planes(keypoint_planes, resized(image, engine.bundle.keypoint_size))
        found = engine.run("keypoints", {"image": keypoint_planes})
        return {f"{prefix}{name}": found[name] for name in ("value", "jacobian")}

    inputs = {one.name for one in onnx.load(engine.bundle.graph("frame")).graph.input}
    for first, *others in people:
        fill_planes(avatar_planes, resized(first, engine.bundle.size))
        avatar = engine.run("avatar", {"image": avatar_planes}) | keypoints(first, "avatar_")
        for other in others:
            known = avatar | keypoints(other, "")
            yield Drive(first, {name: known[name] for name in known.keys() & inputs})


def readings(people: Sequence[Person], side: int) -> list[Mapping[str, NDArray[np.float32]]]:
    """What a keypoint graph of this ``side`` takes, by the names of ``models.bundle``: the middle
    of each picture of each person, as near as a driver's landmarks are read."""
    feeds: list[Mapping[str, NDArray[np.float32]]] = []
    for image in (image for person in people for image in person):
        planes = empty_planes(side)
        fill_planes(planes, Crop.whole(image).scaled(NEARER).cut(image, side))
        feeds.append({"image": planes})
    return feeds


def _kind(path: Path) -> str:
    return path.suffix.lower() if path.is_file() else ""


def _drawn_person(size: int, seed: int) -> Person:
    rng = np.random.default_rng(seed)
    look = random_appearance(seed)
    pictures: list[Image] = []
    crop: Crop | None = None
    for _ in range(MOMENTS):
        picture, truth = draw(look, random_moment(rng), CANVAS, CANVAS)
        crop = crop or Crop.around(truth.landmarks)  # the same for all, so that the head moves
        pictures.append(crop.cut(picture, size))
    return pictures


def _filmed_person(path: Path, tracker: Tracker, size: int) -> Person:
    """Raises SourceError for no video, AvatarError where its first frame has no face."""
    pictures: list[Image] = []
    crop: Crop | None = None
    with closing(VideoFile(path)) as film:
        while len(pictures) < MOMENTS and (frame := film.read()):
            if frame.index % EVERY:
                continue
            if crop is None:
                faces = tracker.find_all(frame.image)
                if not faces:
                    raise AvatarError(f"{path}: no face found in the first frame")
                crop = Crop.around(faces[0].landmarks).within(frame.image, TIGHTEST)
            pictures.append(crop.cut(frame.image, size))
    if len(pictures) < 2:
        raise SourceError(f"{path} is shorter than {EVERY + 1} frames")
    return pictures

"""Measures a bundle on clips of people: how well it copies one, and how well it drives another.

self: the avatar is the clip's first frame, and the clip's keypoints are taken as they are, on the
clip's own framing, so that result and clip can be compared pixel by pixel. cross: the avatar is
another person, moved by the live path's own tracker, smoothing and relative motion. What it does
not tell: whether a mouth looks like a mouth. The pictures of ``ClipMeasures.moments`` do.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from config.errors import AvatarError, SourceError
from config.schema import OutputSettings, Settings, TrackingSettings
from realtime.avatar import Avatar
from realtime.body import Body, Sight
from realtime.carry import Carrier
from realtime.compose import Composer
from realtime.crop import Crop
from realtime.engine import Engine
from realtime.face import open_tracker
from realtime.frame import Image
from realtime.planes import still_keypoints
from realtime.puppeteer import Puppeteer
from realtime.speech import sound_of
from realtime.tells import Watcher
from training.driver import Driver, Sampling, frames_of, neutral_frame
from training.landmarker import NAME, Landmarker
from training.measures import (
    LANDMARKS_68,
    MOVEMENTS,
    Floats,
    Mesh,
    background_change,
    detail,
    flicker,
    follow,
    landmark_distance,
    mean_difference,
    movements,
)
from training.warp import thin_plate_warp

SIZE = 256
"""All pictures are measured at this size, pixels."""


@dataclass(frozen=True, slots=True)
class SelfMeasures:
    """The clip's first frame driven by the clip, means over its measured frames."""

    l1: float
    """Mean absolute difference to the clip, 0..1."""
    l1_unchanged: float
    """The same of the first frame as it is."""
    l1_warped: float
    """The same of the first frame bent by a thin-plate spline of the 68 landmarks."""
    l1_of_unchanged: float
    """l1 / l1_unchanged."""
    akd: float
    """Mean distance of the 68 landmarks to those of the clip, pixels at 256."""
    akd_unchanged: float
    akd_warped: float
    detail: float
    """High-frequency energy in the face against the avatar's: 1 keeps it."""
    missed: float
    """Part of the frames in whose result no face is found."""


@dataclass(frozen=True, slots=True)
class CrossMeasures:
    """Another person driven by the clip."""

    correlation: Mapping[str, float]
    """Over time, between driver and result, for each of ``MOVEMENTS``."""
    gain: Mapping[str, float]
    """Slope of the result over the driver: 1 moves as far."""
    detail: float
    """As in ``SelfMeasures``."""
    background: float
    """Mean absolute difference to the avatar outside both heads, 0..1."""
    flicker: float
    """Temporal high-frequency energy in the face against the driver's."""
    missed: float
    tells: Mapping[str, float]
    """What people look for in a made-up film, ``realtime.tells``, by the default bundle's own
    landmarks; lips against the driving clip's sound."""


class Moment(NamedTuple):
    """Pictures of one moment, (256, 256, 3) uint8 RGB."""

    caption: str
    driving: Image
    copied: Image
    """The self result."""
    driven: Image
    """The cross result."""


@dataclass(frozen=True, slots=True)
class ClipMeasures:
    """All that was measured with one clip. Not a number where something cannot be told."""

    name: str
    avatar: str
    """Who was driven in ``cross``."""
    frames: int
    """How many were measured."""
    own: SelfMeasures
    cross: CrossMeasures
    moments: tuple[Moment, ...]
    """The avatars first, then extremes of the driver's movements."""

    def values(self) -> dict[str, Any]:
        """The figures alone, as JSON has them."""
        about = {"name": self.name, "avatar": self.avatar, "frames": self.frames}
        return about | {"self": asdict(self.own), "cross": asdict(self.cross)}


def measure(
    driver: Driver,
    avatar: Avatar,
    engine: Engine,
    settings: Settings,
    landmarker: Landmarker,
    sampling: Sampling,
) -> ClipMeasures:
    """Both measures with one clip. Raises SourceError, EngineError, AvatarError."""
    # Cut at the size of the results, and reduced like them: what that softens, it softens in all.
    side = engine.bundle.output_size
    views = [_at_size(driver.view.cut(f.image, side)) for f in frames_of(driver.path, sampling)]
    chosen = list(range(0, len(views), sampling.every))
    meshes = landmarker.film(views[number] for number in chosen)
    found = np.isfinite(meshes).all((1, 2))
    if not found.any():
        raise SourceError(f"{driver.path}: {NAME} finds no face in it")
    copies = _copies(driver, engine, sampling)
    copied = landmarker.film(copies)
    own = _self_measures([views[n] for n in chosen], meshes, copies, copied, landmarker)

    output = replace(settings.output, width=SIZE, height=SIZE)
    still = _still(avatar, engine, output)
    still_mesh = landmarker.film([still] * 3)[-1]  # as a film it settles
    if not np.isfinite(still_mesh).all():
        raise AvatarError(f"{avatar.name}: {NAME} finds no face in this avatar; leave it out")
    driven = _driven(driver, avatar, engine, replace(settings, output=output), sampling)
    driven_meshes = landmarker.film(driven[number] for number in chosen)
    # The driver's own neutral face, or the nearest to it that the landmarker saw.
    usable = np.flatnonzero(found)
    reference = meshes[usable[np.abs(usable * sampling.every - driver.neutral).argmin()]]
    moved = movements(meshes, reference)
    follows = movements(driven_meshes, still_mesh)
    pairs = [follow(moved[:, column], follows[:, column]) for column in range(len(MOVEMENTS))]
    both = found & np.isfinite(driven_meshes).all((1, 2))
    seen = [int(number) for number in np.flatnonzero(both)]
    cross = CrossMeasures(
        correlation={name: pair.correlation for name, pair in zip(MOVEMENTS, pairs, strict=True)},
        gain={name: pair.gain for name, pair in zip(MOVEMENTS, pairs, strict=True)},
        detail=_detail_kept(
            [driven[chosen[n]] for n in seen], driven_meshes[seen], still, still_mesh
        ),
        background=_mean(
            background_change(driven[chosen[n]], still, driven_meshes[n], still_mesh) for n in seen
        ),
        flicker=_ratio(
            _flicker(driven, chosen, driven_meshes, seen), _flicker(views, chosen, meshes, seen)
        ),
        missed=1 - len(seen) / int(found.sum()),
        tells=_tells(driver, driven, sampling),
    )
    neutral = views[driver.neutral]
    moments = [Moment("avatar", neutral, views[0], still)]
    for caption, number in _extremes(moved):
        pictures = views[chosen[number]], copies[number], driven[chosen[number]]
        moments.append(Moment(caption, *pictures))
    return ClipMeasures(driver.name, avatar.name, len(chosen), own, cross, tuple(moments))


def medians(clips: Sequence[ClipMeasures]) -> dict[str, Any]:
    """The median over clips of every figure, in the nesting of ``ClipMeasures.values``."""
    return {part: _median([clip.values()[part] for clip in clips]) for part in ("self", "cross")}


def _median(values: Sequence[Any]) -> Any:
    if isinstance(values[0], Mapping):
        return {key: _median([one[key] for one in values]) for key in values[0]}
    told = [value for value in values if math.isfinite(value)]
    return float(np.median(told)) if told else math.nan


def _copies(driver: Driver, engine: Engine, sampling: Sampling) -> list[Image]:
    """The clip made again from its first frame, every measured frame."""
    results: list[Image] = []
    carrier: Carrier | None = None
    body = Body(eases=False)
    frames = itertools.islice(frames_of(driver.path, sampling), 0, None, sampling.every)
    for number, frame in enumerate(frames):
        picture = driver.view.cut(frame.image, engine.bundle.output_size)
        whole = Crop.whole(picture)
        if number == 0:
            engine.set_avatar(picture)
        keypoints = still_keypoints(engine.keypoints, picture, engine.bundle)
        if number == 0:
            side = picture.shape[0]
            landmarks = whole.to_frame(keypoints.value)
            avatar = Avatar("", picture, full=picture, crop=whole, landmarks=landmarks)
            carrier = _carrier(avatar, engine, OutputSettings(width=side, height=side))
            neutral = keypoints.value
            body.set_avatar(neutral)
        if carrier is None:
            results.append(_at_size(engine.generate(keypoints)))
            continue
        body.see(Sight.of(picture, whole, keypoints.value), neutral, 0.0)
        results.append(_at_size(engine.generate(keypoints, body.before(carrier, 1.0))))
    return results


def _carrier(avatar: Avatar, engine: Engine, output: OutputSettings) -> Carrier | None:
    """What moves an avatar's pixels in a run; None where the engine does it."""
    composer = Composer(output, carries=engine.bundle.family == "compact")
    composer.show(avatar)
    return composer.scene.carrier


def _still(avatar: Avatar, engine: Engine, output: OutputSettings) -> Image:
    """The avatar at rest, as a run shows it: enlarged by another way it would differ all over."""
    carrier = _carrier(avatar, engine, output)
    if carrier is None:
        return _at_size(avatar.image)
    nothing = np.zeros((3, 2, 2), np.float32)
    return _at_size(carrier(nothing[:2], nothing, np.ones((1, 2, 2), np.float32)))


def _driven(
    driver: Driver, avatar: Avatar, engine: Engine, settings: Settings, sampling: Sampling
) -> list[Image]:
    """The avatar driven by the clip, every frame, as ``puppetcam animate`` does it."""
    tracker = open_tracker(settings.tracking, engine)
    puppeteer = Puppeteer(engine, tracker, settings)
    puppeteer.set_avatar(avatar)
    puppeteer.take_reference(replace(neutral_frame(driver, sampling), captured_at=0.0), driver.face)
    return [_at_size(puppeteer.step(frame).result) for frame in frames_of(driver.path, sampling)]


def _tells(driver: Driver, driven: list[Image], sampling: Sampling) -> dict[str, float]:
    tracker, watcher = open_tracker(TrackingSettings()), Watcher()
    for frame, result in zip(frames_of(driver.path, sampling), driven, strict=True):
        face = tracker.track(result, frame.captured_at)
        watcher.see(result, face.landmarks if face else None, frame.captured_at)
    return {one.name: one.value for one in watcher.tells(sound_of(driver.path))}


def _self_measures(
    clip: list[Image], meshes: Mesh, copies: list[Image], copied: Mesh, landmarker: Landmarker
) -> SelfMeasures:
    first, first_mesh = clip[0], meshes[0]
    found = np.isfinite(meshes).all((1, 2)) & np.isfinite(first_mesh).all()
    # The first frame is the avatar itself: it would flatter everybody.
    counted = [number for number in range(1, len(clip)) if found[number]]
    points = meshes[:, list(LANDMARKS_68), :2]
    bent = [thin_plate_warp(first, points[0], points[number]) for number in counted]
    bent_meshes = landmarker.film([first, *bent])[1:]
    seen = [number for number in counted if np.isfinite(copied[number]).all()]

    def difference(pictures: Sequence[Image]) -> float:
        return _mean(
            mean_difference(one, clip[n]) for one, n in zip(pictures, counted, strict=True)
        )

    l1 = difference([copies[number] for number in counted])
    l1_unchanged = difference([first] * len(counted))
    return SelfMeasures(
        l1=l1,
        l1_unchanged=l1_unchanged,
        l1_warped=difference(bent),
        l1_of_unchanged=_ratio(l1, l1_unchanged),
        akd=_mean(landmark_distance(copied[counted], meshes[counted])),
        akd_unchanged=_mean(landmark_distance(first_mesh[None], meshes[counted])),
        akd_warped=_mean(landmark_distance(bent_meshes, meshes[counted])),
        detail=_detail_kept([copies[n] for n in seen], copied[seen], first, first_mesh),
        missed=1 - _ratio(len(seen), len(counted)),
    )


def _detail_kept(results: list[Image], meshes: Mesh, still: Image, still_mesh: Mesh) -> float:
    if not results:
        return math.nan
    kept = _mean(detail(image, mesh) for image, mesh in zip(results, meshes, strict=True))
    return _ratio(kept, detail(still, still_mesh))


def _flicker(film: list[Image], chosen: list[int], meshes: Mesh, seen: Sequence[int]) -> float:
    """``film`` has every frame, so that it is the flicker of one frame to the next."""
    return _mean(
        flicker(film[chosen[n] - 1], film[chosen[n]], film[chosen[n] + 1], meshes[n])
        for n in seen
        if 0 < chosen[n] < len(film) - 1
    )


def _extremes(moved: Floats) -> Iterator[tuple[str, int]]:
    """Moments that tell most about an animation: (T, 9) movements -> caption and row."""
    column = {name: moved[:, order] for order, name in enumerate(MOVEMENTS)}
    for caption, values in (
        ("mouth open", column["mouth"]),
        ("eyes shut", -column["right_eye"] - column["left_eye"]),
        ("smile", column["smile"]),
        ("turned left", -column["yaw"]),
        ("turned right", column["yaw"]),
        ("nod", np.abs(column["pitch"])),
    ):
        yield caption, int(np.nanargmax(values))


def _at_size(image: Image) -> Image:
    return image if image.shape[0] == SIZE else Crop.whole(image).cut(image, SIZE)


def _mean(values: Any) -> float:
    told = [value for value in values if math.isfinite(value)]
    return float(np.mean(told)) if told else math.nan


def _ratio(value: float, base: float) -> float:
    return value / base if base > 0 else math.nan

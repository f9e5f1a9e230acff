"""Find the driver's face, follow it, stay on it.

A finder looks through the whole picture, seldom; a landmark network verifies and refines what it
finds, and then follows alone: each frame is read in the crop around the last frame's landmarks.
Who the face belongs to is not known: "the same face" means one that moves and grows without jumps.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from config.schema import EngineSettings, TrackingSettings
from models.keypoints import Keypoints
from models.landmarks import NAMES, indices
from realtime.crop import CROP_RATIO, READ_RATIO, Crop, Points
from realtime.finder import Finder
from realtime.frame import Image

if TYPE_CHECKING:
    from realtime.engine import Engine

ACQUIRE = 0.6
"""Least confidence of the network in a new face."""
KEEP = 0.4
"""Least confidence in the face that is followed."""
MISSES = 3
"""Frames in a row without the face after which it is looked for again."""
SEARCH_S = 0.3
"""Least time between two searches of the whole picture: a search takes 10 to 30 ms."""
STAY_S = 2.0
"""For this long after a loss only a face near the lost one is taken; then any face."""
NEAR = 0.45
"""Farthest a face may be from the lost one to be the same, in sides of its crop."""
JUMP = 0.35
"""Farthest a face moves from one frame to the next, in sides of its crop."""
MOST_FACES = 8
"""More are not looked at."""
STILL_SEARCHES = (8.0, 24.0)
"""Still pictures are searched for faces from this part of their shorter side on, coarse first."""

_EYES = indices("right_eye_outer", "left_eye_outer")
_MOUTH = indices("mouth_right", "mouth_left")
_CHIN, _FOREHEAD = indices("chin", "forehead")


@dataclass(frozen=True, slots=True)
class Face:
    """A face in one picture."""

    landmarks: Points
    """(48, 2) float32, frame pixels, in the order of ``models.landmarks``."""
    confidence: float
    """0..1."""
    crop: Crop
    """Where the network looked."""
    keypoints: Keypoints | None = None
    """As the network read them, in coordinates of ``crop``; None where its jacobians are no
    bundle's."""


class LandmarkNetwork(Protocol):
    """Reads the 48 landmarks as keypoints: ``Engine``, ``KeypointSession``, face-alignment."""

    def keypoints(self, image: Image) -> tuple[Keypoints, float]:
        """Keypoints of a crop (S, S, 3) uint8 RGB in -1..1, and 0..1 that there is a face."""
        ...


class Tracker(Protocol):
    """Follows one face through a video."""

    def track(self, image: Image, now: float) -> Face | None:
        """The driver's face in ``image`` (H, W, 3) uint8 RGB at ``now``, seconds."""
        ...

    def find_all(self, image: Image) -> list[Face]:
        """All faces of a still picture, largest first. Leaves the followed face alone."""
        ...

    def reset(self) -> None:
        """Forget whose face is followed: look again at once, and take the largest."""
        ...


class LandmarkTracker:
    """``Tracker`` with a face finder and a landmark network. Not thread-safe."""

    def __init__(
        self,
        network: LandmarkNetwork,
        settings: TrackingSettings,
        size: int = 128,
        is_bundle: bool = True,
    ) -> None:
        """``size``: side of the pictures that ``network`` takes. ``is_bundle``: its jacobians may
        drive an avatar."""
        self._network = network
        self._size = size
        self._min_face_px = settings.min_face_px
        self._is_bundle = is_bundle
        self._finder = Finder()
        self._last: Face | None = None
        self._seen_at = -math.inf
        self.reset()

    def reset(self) -> None:
        """See ``Tracker``."""
        self._is_anybody = True
        self._misses = MISSES
        self._searched_at = -math.inf

    def track(self, image: Image, now: float) -> Face | None:
        """See ``Tracker``. Lost for a few frames, the face is looked for every ``SEARCH_S``."""
        if self._last and self._misses < MISSES:
            face = self._read(image, Crop.around(self._last.landmarks, READ_RATIO))
            if face.confidence >= KEEP and _is_plausible(face) and self._continues(face):
                return self._follow(face, now)
            self._misses += 1
            return None
        if now - self._searched_at < SEARCH_S:
            return None
        self._searched_at = now
        found = self._search(image, now)
        return self._follow(found, now) if found else None

    def find_all(self, image: Image) -> list[Face]:
        """See ``Tracker``. Where the finder finds none, the whole picture is tried as a face."""
        faces: list[Face] = []
        for part in STILL_SEARCHES:
            least_px = max(min(image.shape[:2]) / part, self._min_face_px)
            faces = faces or self._verified(image, self._detect(image, least_px))
        if not faces:
            whole = Crop.whole(image)
            faces = self._verified(image, [whole.scaled(part) for part in (1.0, 0.7, 1.5)])
        return sorted(faces, key=lambda face: -Crop.around(face.landmarks).side)

    def _follow(self, face: Face, now: float) -> Face:
        self._last, self._seen_at = face, now
        self._misses, self._is_anybody = 0, False
        return face

    def _search(self, image: Image, now: float) -> Face | None:
        crops = self._detect(image, self._min_face_px)
        # Try also where it was, and where drivers mostly sit.
        crops.append(Crop.around(self._last.landmarks) if self._last else Crop.whole(image))
        faces = self._verified(image, crops)
        last = self._last
        if last is None or self._is_anybody:
            return max(faces, key=lambda face: face.crop.side, default=None)
        if now - self._seen_at < STAY_S:
            faces = [face for face in faces if _distance(face, last) < NEAR]
        return min(faces, key=lambda face: _distance(face, last), default=None)

    def _detect(self, image: Image, least_px: float) -> list[Crop]:
        """Crops around the faces that the finder sees, surest first."""
        found = self._finder.find(image, least_px)[:MOST_FACES]
        return [Crop(one.x, one.y, max(one.height * CROP_RATIO, 1.0)) for one in found]

    def _verified(self, image: Image, crops: list[Crop]) -> list[Face]:
        """The faces in these crops, each once."""
        faces: list[Face] = []
        for crop in crops:
            # Read twice: the second time in the crop that the first reading gives.
            first = self._read(image, crop)
            if first.confidence < KEEP or not _is_plausible(first):
                continue
            face = self._read(image, Crop.around(first.landmarks, READ_RATIO))
            if face.confidence < ACQUIRE or not _is_plausible(face):
                continue
            if _height(face) < self._min_face_px:
                continue
            if all(_distance(face, other) >= 0.25 for other in faces):
                faces.append(face)
        return faces

    def _read(self, image: Image, crop: Crop) -> Face:
        keypoints, confidence = self._network.keypoints(crop.cut(image, self._size))
        landmarks = crop.to_frame(keypoints.value)
        return Face(landmarks, confidence, crop, keypoints if self._is_bundle else None)

    def _continues(self, face: Face) -> bool:
        """Whether this can be the followed face one frame on: no jump in place or size."""
        return self._last is not None and _distance(face, self._last) < JUMP


def open_tracker(settings: TrackingSettings, engine: "Engine | None" = None) -> LandmarkTracker:
    """The tracker that ``settings.tracker`` names.

    Where the engine's bundle has the landmarks as keypoints, its own network is used, so that it
    runs once a frame; else the default bundle's. Raises BundleError, MissingPackageError.
    """
    if settings.tracker == "face-alignment":
        from realtime.alignment import SIZE, AlignmentNetwork

        return LandmarkTracker(AlignmentNetwork(), settings, SIZE, is_bundle=False)
    if engine and engine.bundle.landmarks == tuple(NAMES):
        return LandmarkTracker(engine, settings, engine.bundle.keypoint_size)
    from models.bundle import open_bundle
    from realtime.onnx_engine import KeypointSession

    bundle = open_bundle(None)
    network = KeypointSession(bundle, EngineSettings(provider="cpu"))
    return LandmarkTracker(network, settings, bundle.keypoint_size)


def _distance(face: Face, other: Face) -> float:
    """How far two faces are apart in place and size, in sides of the second one's crop."""
    one, two = Crop.around(face.landmarks), Crop.around(other.landmarks)
    return math.hypot(
        (one.cx - two.cx) / two.side, (one.cy - two.cy) / two.side, math.log(one.side / two.side)
    )


def _height(face: Face) -> float:
    return Crop.around(face.landmarks, 1.0).side


def _is_plausible(face: Face) -> bool:
    """Eyes over mouth over chin, eyes apart, and of a size that fits the crop."""
    marks = face.landmarks
    if not np.isfinite(marks).all():
        return False
    down = marks[_CHIN] - marks[_FOREHEAD]
    height = float(np.hypot(*down))
    if not 0.2 < height / face.crop.side < 1.1:
        return False
    eyes, mouth = marks[_EYES].mean(axis=0), marks[_MOUTH].mean(axis=0)
    order = np.array([marks[_FOREHEAD], eyes, mouth, marks[_CHIN]]) @ down
    apart = float(np.hypot(*(marks[_EYES[1]] - marks[_EYES[0]])))
    return bool((np.diff(order) > 0).all()) and apart > 0.15 * height

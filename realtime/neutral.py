"""How neutral a face looks: eyes open, mouth closed and at rest, looking ahead, still.

Read from the landmarks' geometry in the picture, so pitch is a guess from proportions that differ
between people; the other terms hold for everybody.
"""

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models.landmarks import indices
from realtime.crop import Points
from realtime.face import Face, Tracker
from realtime.frame import Frame

TYPICAL_PITCH = 0.6
"""``Look.pitch`` of a head that looks ahead: the median of portraits."""


class Look(NamedTuple):
    """One frame of a face. Lengths are in distances between the outer eye corners."""

    eyes: float
    """Gap between the lids against the eye's width, of the more closed eye; open is about 0.3."""
    mouth: float
    """Gap between the inner lips, 0 closed."""
    lips: float
    """Distance of the mouth's corners: less where lips are pursed, more in a smile."""
    brows: float
    """Height of the brows over the eyes."""
    yaw: float
    """How far the nose tip stands to the side of the eyes' middle; 0 ahead."""
    pitch: float
    """Height of the nose tip between eyes and mouth; ``TYPICAL_PITCH`` ahead, less looking up."""
    roll: float
    """Tilt of the eye line, radians."""
    gaze: float
    """How far the irises stand to the side of their eyes' middle, in widths of the eye; 0 ahead."""
    speed: float
    """Movement of the landmarks, per second."""
    doubt: float
    """1 - the tracker's confidence."""


_TOLERANCE = Look(
    eyes=0.06,
    mouth=0.03,
    lips=0.06,
    brows=0.04,
    yaw=0.08,
    pitch=0.1,
    roll=0.1,
    gaze=0.06,
    speed=0.4,
    doubt=0.3,
)
_EYES = {
    side: (
        indices(f"{side}_lid_upper_outer", f"{side}_lid_upper", f"{side}_lid_upper_inner"),
        indices(f"{side}_lid_lower_outer", f"{side}_lid_lower", f"{side}_lid_lower_inner"),
        indices(f"{side}_eye_outer", f"{side}_eye_inner"),
        indices(f"{side}_iris", f"{side}_brow"),
    )
    for side in ("right", "left")
}
_CORNERS = indices("right_eye_outer", "left_eye_outer")
_NOSE, _UPPER_LIP, _LOWER_LIP = indices("nose_tip", "inner_lip_upper", "inner_lip_lower")
_MOUTH = indices("mouth_right", "mouth_left")


def look_of(
    landmarks: Points,
    before: Points | None = None,
    elapsed_s: float = 0.0,
    confidence: float = 1.0,
) -> Look:
    """The look of (48, 2) landmarks; ``before``: the landmarks ``elapsed_s`` earlier, if known."""
    right, left = landmarks[_CORNERS]
    width = max(float(np.hypot(*(left - right))), 1e-6)
    across = (left - right) / width
    down = np.array([-across[1], across[0]], np.float32)
    nose = landmarks[_NOSE] - (right + left) / 2
    corners = landmarks[_MOUTH]
    mouth = corners.mean(axis=0) - (right + left) / 2
    gaps, gazes, brows = [], [], []
    for upper, lower, (outer, inner), (iris, brow) in _EYES.values():
        middle = (landmarks[outer] + landmarks[inner]) / 2
        eye = max(float(np.hypot(*(landmarks[outer] - landmarks[inner]))), 1e-6)
        gaps.append(float(((landmarks[lower] - landmarks[upper]) @ down).mean()) / eye)
        gazes.append(float((landmarks[iris] - middle) @ across) / eye)
        brows.append(float((middle - landmarks[brow]) @ down) / width)
    speed = 0.0
    if before is not None and elapsed_s > 0:
        moved = float(np.hypot(*(landmarks - before).T).mean())
        speed = moved / width / elapsed_s
    return Look(
        eyes=min(gaps),
        mouth=float((landmarks[_LOWER_LIP] - landmarks[_UPPER_LIP]) @ down) / width,
        lips=float(np.hypot(*(corners[1] - corners[0]))) / width,
        brows=sum(brows) / 2,
        yaw=float(nose @ across) / width,
        pitch=float(nose @ down) / max(float(mouth @ down), 1e-6),
        roll=float(np.arctan2(across[1], across[0])),
        gaze=sum(gazes) / 2,
        speed=speed,
        doubt=1 - confidence,
    )


def unneutral(looks: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each of (N, 10) looks is from neutral, (N,), 0 or more; the least is the best.

    Sum of squares of the distances in units of their tolerance. Eyes, lips and brows are measured
    against the person's own: the upper quartile and the medians of all looks.
    """
    usual = Look(*np.median(looks, axis=0))
    eyes = max(float(np.quantile(looks[:, 0], 0.75)), 0.15)
    ideal = Look(*np.zeros(len(Look._fields)))._replace(
        eyes=eyes, lips=usual.lips, brows=usual.brows, pitch=TYPICAL_PITCH
    )
    distance = looks - np.array(ideal)
    distance[:, 1] = np.maximum(distance[:, 1], 0)  # lips that overlap are closed
    return np.asarray(np.square(distance / np.array(_TOLERANCE)).sum(axis=1), np.float64)


def most_neutral(looks: NDArray[np.float64]) -> int:
    """The row of (N, 10) looks that is closest to neutral."""
    return int(unneutral(looks).argmin())


def find_neutral(
    frames: Iterable[Frame], tracker: Tracker, mirror: bool = False
) -> tuple[int, Face] | None:
    """The index of the frame with the most neutral face, and that face; None without any face.

    ``mirror``: looked for in the flipped pictures. Moves the tracker.
    """
    looks: list[Look] = []
    found: list[tuple[int, Face]] = []
    before_s = 0.0
    for frame in frames:
        image = np.asarray(cv2.flip(frame.image, 1), np.uint8) if mirror else frame.image
        face = tracker.track(image, frame.captured_at)
        if face is not None:
            before = found[-1][1].landmarks if found else None
            elapsed_s = frame.captured_at - before_s
            looks.append(look_of(face.landmarks, before, elapsed_s, face.confidence))
            found.append((frame.index, face))
            before_s = frame.captured_at
    if not found:
        return None
    if len(looks) > 1:  # the first one has no speed of its own, which is no calm
        looks[0] = looks[0]._replace(speed=looks[1].speed)
    return found[most_neutral(np.array(looks))]

"""A drawn driver who moves a drawn avatar, for tests of motion and expression."""

from dataclasses import replace

import numpy as np
from drawn_face import face, keypoints_of

from config.schema import MotionSettings
from models.keypoints import Keypoints
from models.landmarks import NAMES, indices
from realtime.crop import Crop
from realtime.motion import Motion

UPPER = indices("right_lid_upper_outer", "right_lid_upper", "right_lid_upper_inner")
LOWER = indices("right_lid_lower_outer", "right_lid_lower", "right_lid_lower_inner")
LIP_UPPER = indices("inner_lip_upper_right", "inner_lip_upper", "inner_lip_upper_left")
LIP_LOWER = indices("inner_lip_lower_right", "inner_lip_lower", "inner_lip_lower_left")
DT = 1 / 30
AS_IT_IS = MotionSettings(expression=1.0, turn=1.0, nod=1.0)


def avatar_of(**look: float) -> Keypoints:
    """An avatar's keypoints in its own crop."""
    landmarks = face((128, 128), 110, **look)
    return Crop.around(landmarks).keypoints_from_frame(keypoints_of(landmarks))


def started(avatar: Keypoints | None = None, driver: np.ndarray | None = None, **changes) -> Motion:
    """Motion with a neutral reference taken at time 0."""
    motion = Motion(replace(AS_IT_IS, **changes), tuple(NAMES), 1.0)
    motion.set_avatar(avatar or avatar_of())
    neutral = face() if driver is None else driver
    motion.take_reference(keypoints_of(neutral), neutral, 0.0)
    return motion


def driven(motion: Motion, landmarks: np.ndarray, now: float = DT) -> Keypoints:
    return motion.drive(keypoints_of(landmarks), landmarks, 1.0, now)


def gap(value: np.ndarray, upper: list[int] = UPPER, lower: list[int] = LOWER) -> float:
    return float((value[lower, 1] - value[upper, 1]).mean())

"""One-Euro filter on keypoints: calm at rest, quick in motion, independent of the frame rate.

Paper: Casiez, Roussel, Vogel 2012, "1 Euro Filter: A Simple Speed-based Low-pass Filter for Noisy
Input in Interactive Systems", CHI.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.keypoints import Keypoints
from models.landmarks import NAMES, indices

Array = NDArray[np.float32]

DERIVATIVE_CUTOFF_HZ = 3.0
"""Of the low-pass on the speed. The paper's 1 Hz notices a blink only when it is over."""

FAST = 4.0
"""Factor on the cut-off of lids, irises and lips: a blink lasts 0.15 s, a syllable 0.2 s."""

_IRISES = indices("right_iris", "left_iris")
_CORNERS = np.array(
    [indices(f"{side}_eye_outer", f"{side}_eye_inner") for side in ("right", "left")]
)


class OneEuro:
    """The filter on an array of any shape, each number on its own. Keeps no clock."""

    def __init__(
        self,
        min_cutoff_hz: float | Array,
        beta: float,
        derivative_cutoff_hz: float = DERIVATIVE_CUTOFF_HZ,
    ) -> None:
        """``min_cutoff_hz``: one for all or an array that broadcasts; ``beta``: Hz per unit/s."""
        self._min_cutoff_hz = min_cutoff_hz
        self._beta = beta
        self._derivative_cutoff_hz = derivative_cutoff_hz
        self.reset()

    def reset(self) -> None:
        """Forget: the next value passes as it is."""
        self._value: Array | None = None
        self._speed: Array | None = None
        self._time = 0.0

    def __call__(self, value: Array, now: float, unit: float = 1.0) -> Array:
        """The filtered value at ``now``, seconds. ``unit``: how much of ``value`` is one unit of
        ``beta``. A value not later than the last one changes nothing."""
        if self._value is None or self._speed is None:
            self._value, self._speed, self._time = value, np.zeros_like(value), now
            return value
        elapsed = now - self._time
        if elapsed <= 0:
            return self._value
        speed = (value - self._value) / np.float32(elapsed)
        self._speed = self._speed + _alpha(self._derivative_cutoff_hz, elapsed) * (
            speed - self._speed
        )
        cutoff_hz = self._min_cutoff_hz + self._beta / unit * np.abs(self._speed)
        weight = _alpha(cutoff_hz, elapsed)
        self._value = np.asarray(self._value + weight * (value - self._value), np.float32)
        self._time = now
        return self._value


class KeypointSmoother:
    """One-Euro on value and jacobian alike; lids, irises and lips faster, where they are known.

    Irises are filtered by their place between the corners of their eye: with a filter of its own
    that is quicker than the corners', an iris would glance wherever the head goes.
    """

    def __init__(self, min_cutoff_hz: float, beta: float, landmarks: tuple[str, ...] = ()) -> None:
        """``landmarks``: names of the keypoints, empty where they were learnt unsupervised."""
        self._has_eyes = landmarks == tuple(NAMES)
        cutoff: float | Array = min_cutoff_hz
        if landmarks:
            fast = [FAST if is_fast(name) else 1.0 for name in landmarks]
            cutoff = np.array(fast, np.float32)[:, None] * np.float32(min_cutoff_hz)
        self._filter = OneEuro(cutoff, beta)

    def reset(self) -> None:
        """Forget: the next keypoints pass as they are."""
        self._filter.reset()

    def __call__(self, keypoints: Keypoints, now: float, unit: float = 1.0) -> Keypoints:
        """Keypoints (K, 2) and (K, 2, 2), filtered. ``unit``: see ``OneEuro``."""
        count = len(keypoints.value)
        both = np.concatenate([keypoints.value, keypoints.jacobian.reshape(count, 4)], axis=1)
        if self._has_eyes:
            both[_IRISES, :2] -= both[_CORNERS, :2].mean(1)
        smooth = self._filter(both, now, unit)
        if self._has_eyes:
            smooth = smooth.copy()
            smooth[_IRISES, :2] += smooth[_CORNERS, :2].mean(1)
        return Keypoints(smooth[:, :2], smooth[:, 2:].reshape(count, 2, 2))


def is_fast(name: str) -> bool:
    """True for landmarks of ``models.landmarks`` that move by themselves: lids, irises, lips."""
    if name not in NAMES:
        return False
    return any(part in name for part in ("lid", "iris", "lip", "mouth"))


def _alpha(cutoff_hz: Any, elapsed_s: float) -> Array:
    """Weight of the new value in a low-pass of this cut-off, equation 5 of the paper."""
    return np.asarray(1 / (1 + 1 / (2 * math.pi * elapsed_s * cutoff_hz)), np.float32)

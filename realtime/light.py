"""How bright and how noisy the camera's picture is, and a filter against the noise.

In dim light a camera amplifies its noise, and the keypoints tremble with it. What the camera's own
filters hide is not seen here.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime.frame import Image

EVERY_S = 1.0
"""Time between two measurements."""
SETTLE_S = 2.0
"""A camera sets its exposure in this time: its first pictures say nothing."""
IN_A_ROW = 3
"""Measurements that must agree before something is said."""
DARK = 40.0
"""Mean of the middle of the picture, 0..255, below which it counts as dark."""
NOISY = 5.0
"""Standard deviation of the grey picture over time, 0..255, above which it counts as noisy: the
landmarks of a still face then tremble twice as much as in good light."""

STEP = 4
"""Every so many pixels are measured, in both directions."""
_GREY = np.array((0.299, 0.587, 0.114), np.float32)


class LightMeter:
    """Looks at a few pictures of a camera and says once when there is too little light."""

    def __init__(self) -> None:
        self.brightness = math.nan
        """Mean of the middle of the picture, 0..255."""
        self.noise = math.nan
        """Standard deviation of the still parts over time, 0..255, grey."""
        self._started: float | None = None
        self._looked_at = -math.inf
        self._before: NDArray[np.float32] | None = None
        self._bad = 0
        self._said = False

    def look(self, image: Image, now: float) -> str | None:
        """A picture (H, W, 3) uint8 RGB at ``now``, seconds; what to tell the user, once."""
        if self._said:
            return None
        if self._started is None:
            self._started = now
        before, self._before = self._before, None
        if before is None:
            if now - self._started >= SETTLE_S and now - self._looked_at >= EVERY_S:
                self._before = _small(image)  # the next picture is compared with it
            return None
        grey = _small(image)
        if grey.shape != before.shape:
            return None
        self._looked_at = now
        self.brightness = float(_middle(grey).mean())
        self.noise = noise_between(before, grey)
        self._bad = self._bad + 1 if self.brightness < DARK or self.noise > NOISY else 0
        if self._bad < IN_A_ROW:
            return None
        self._said = True
        return (
            f"little light (brightness {self.brightness:.0f} of 255, noise {self.noise:.1f}): "
            "a lamp in front of you calms the avatar; so does camera.denoise=true"
        )


def noise_between(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Standard deviation of the noise of two pictures of the same scene, each (h, w).

    From the smallest quarter of their differences: what moves, as long as it is less than half,
    and lamps that flicker count little.
    """
    difference = after - before
    quarter = float(np.quantile(np.abs(difference - np.median(difference)), 0.25))
    return quarter / 0.31864 / math.sqrt(2)  # of a normal distribution; of one picture of the two


def _small(image: Image) -> NDArray[np.float32]:
    # Pixels picked, not averaged: averages would hide the noise.
    return np.asarray(image[::STEP, ::STEP].astype(np.float32) @ _GREY)


def _middle(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where a face is: a bright window behind it does not help."""
    height, width = grey.shape
    return grey[height // 5 : -(height // 5) or None, width // 4 : -(width // 4) or None]


class Denoiser:
    """Averages over time where nothing moves. What moves more than the noise is left as it is; in
    very strong noise small movements come up to two frames late.

    Filters within one picture do not help here: the crop that the network reads is averaged down
    anyway.
    """

    WEIGHT = 0.25
    """Of the new picture where nothing moves."""
    LEAST, MOST = 2.0, 40.0
    """Differences below always count as noise, above as movement; 0..255."""

    def __init__(self) -> None:
        self._mean: NDArray[np.float32] | None = None
        self._calm: Image | None = None
        """The mean, rounded: what was given last."""

    def reset(self) -> None:
        """Forget the pictures before: the next one is another scene."""
        self._mean = self._calm = None

    def __call__(self, image: Image) -> Image:
        """The calmer picture; both (H, W, 3) uint8 RGB."""
        if self._mean is None or self._calm is None or self._mean.shape != image.shape:
            self._mean, self._calm = image.astype(np.float32), image
            return image
        change = cv2.blur(cv2.cvtColor(cv2.absdiff(image, self._calm), cv2.COLOR_RGB2GRAY), (5, 5))
        usual = float(np.median(change[::8, ::8]))
        limit = min(max(1.6 * usual, self.LEAST), self.MOST)
        moved = np.asarray(change > limit, np.uint8)
        cv2.accumulateWeighted(image, self._mean, self.WEIGHT)
        cv2.accumulateWeighted(image, self._mean, 1.0, mask=moved)
        self._calm = np.asarray(cv2.convertScaleAbs(self._mean), np.uint8)
        return self._calm

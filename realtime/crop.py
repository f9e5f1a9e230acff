"""Square crops: where they lie, how they are cut, and how keypoints move in and out of them.

A crop's own coordinates are those of the keypoints: x right and y down, -1..1, where -1 and 1 are
the centres of the first and the last pixel of the cut picture. Frame pixels have whole numbers at
pixel centres. So the map between the two does not depend on the size the crop is cut to.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.keypoints import Keypoints
from realtime.frame import Image

CROP_RATIO = 1.85
"""Side of a crop against the height of the box around the face's landmarks, avatars and drivers."""
READ_RATIO = 1.45
"""The same for the crops in which landmarks are read: nearer, eyes and lips have more pixels."""

Points = NDArray[np.float32]
"""(..., 2) float32: x, y."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A square of a frame. It may reach over the frame's edge."""

    cx: float
    """Centre, frame pixels."""
    cy: float
    side: float
    """From the centre of the first to the centre of the last pixel, frame pixels. Above 0."""

    @classmethod
    def around(cls, landmarks: Points, ratio: float = CROP_RATIO) -> "Crop":
        """The crop around (K, 2) landmarks: centred on their box, ``ratio`` times its height."""
        low, high = landmarks.min(axis=0), landmarks.max(axis=0)
        x, y = (low + high) / 2
        return cls(float(x), float(y), max(float(high[1] - low[1]) * ratio, 1.0))

    @classmethod
    def whole(cls, image: Image) -> "Crop":
        """The largest centred square of a picture."""
        height, width = image.shape[:2]
        return cls((width - 1) / 2, (height - 1) / 2, max(min(width, height) - 1.0, 1.0))

    def scaled(self, factor: float) -> "Crop":
        """The same centre with ``factor`` times the side."""
        return Crop(self.cx, self.cy, self.side * factor)

    def within(self, image: Image, least: float) -> "Crop":
        """Moved, and shrunk to at least ``least`` times its side, so that it stays in the picture
        as far as that goes: a repeated edge is seen."""
        height, width = image.shape[:2]
        side = max(min(self.side, width - 1.0, height - 1.0), self.side * least)
        return Crop(_inside(self.cx, side, width), _inside(self.cy, side, height), side)

    def to_frame(self, value: Points) -> Points:
        """(..., 2) crop coordinates -> frame pixels."""
        centre = np.array([self.cx, self.cy], np.float32)
        return np.asarray(value * np.float32(self.side / 2) + centre, np.float32)

    def from_frame(self, points: Points) -> Points:
        """(..., 2) frame pixels -> crop coordinates; may lie beyond -1..1."""
        centre = np.array([self.cx, self.cy], np.float32)
        return np.asarray((points - centre) / np.float32(self.side / 2), np.float32)

    def keypoints_to_frame(self, keypoints: Keypoints) -> Keypoints:
        """Keypoints in crop coordinates -> keypoints in frame pixels, jacobians scaled along."""
        jacobian = keypoints.jacobian * np.float32(self.side / 2)
        return Keypoints(self.to_frame(keypoints.value), jacobian)

    def keypoints_from_frame(self, keypoints: Keypoints) -> Keypoints:
        """Keypoints in frame pixels -> keypoints in crop coordinates."""
        jacobian = keypoints.jacobian / np.float32(self.side / 2)
        return Keypoints(self.from_frame(keypoints.value), jacobian)

    def cut(self, image: Image, size: int) -> Image:
        """This square of ``image`` as (size, size, 3) uint8, size 2 or more.

        Outside the picture its edge is repeated. Large crops are first averaged over whole blocks
        of pixels: a bilinear cut alone would skip pixels, and still faces would flicker.
        """
        step = self.side / (size - 1)
        left, top = self.cx - self.side / 2, self.cy - self.side / 2
        block = int(step)
        if block >= 2:
            height, width = image.shape[:2]
            x0, x1 = _blocks(left, left + self.side, block, width)
            y0, y1 = _blocks(top, top + self.side, block, height)
            if x1 - x0 >= block and y1 - y0 >= block:
                reduced = ((x1 - x0) // block, (y1 - y0) // block)
                part = image[y0:y1, x0:x1]
                image = np.asarray(
                    cv2.resize(part, reduced, interpolation=cv2.INTER_AREA), np.uint8
                )
                middle = (block - 1) / 2
                left, top = (left - x0 - middle) / block, (top - y0 - middle) / block
                step /= block
        back = np.array([[step, 0, left], [0, step, top]], np.float64)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        edge = cv2.BORDER_REPLICATE
        cut = cv2.warpAffine(image, back, (size, size), flags=flags, borderMode=edge)
        return np.asarray(cut, np.uint8)


def _inside(centre: float, side: float, length: int) -> float:
    """The nearest centre with which ``side`` lies in 0..length-1, or covers all of it."""
    low, high = sorted((side / 2, length - 1 - side / 2))
    return min(max(centre, low), high)


def _blocks(low: float, high: float, block: int, length: int) -> tuple[int, int]:
    """Whole blocks that cover low..high with one block of margin, inside 0..length."""
    start = int(np.clip(np.floor(low) - block, 0, length))
    stop = int(np.clip(np.ceil(high) + 1 + block, start, length))
    stop -= (stop - start) % block
    return start, stop

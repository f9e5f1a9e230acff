"""Where faces are in a whole picture: a small network of our own, run by OpenCV.

It needs no runtime but OpenCV's, whatever engine animates the avatar. What it finds are places to
look at; the landmark network says whether there is a face.
"""

import math
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from realtime.frame import Image
from realtime.shipped import open_network

WEIGHTS = Path(__file__).parent.parent / "models" / "weights" / "finder" / "finder.onnx"
PIXELS = 160 * 128
"""Size of the picture that is searched, as many pixels as in training."""
LEAST_PX = 9.0
"""Height of the smallest face that the network knows, pixels of what it is given."""
STRIDE, MULTIPLE, UNIT_PX = 4, 16, 24.0
"""As in ``models.finder``, which needs torch."""
BELIEF = 0.35
"""Least heat of a face. Low: the landmark network looks again, and a miss costs more."""


class Found(NamedTuple):
    """A face, in pixels of the picture."""

    x: float
    """Middle of the box of its landmarks."""
    y: float
    height: float
    """Of that box."""
    belief: float
    """0..1."""


class Finder:
    """Finds faces. Not thread-safe."""

    def __init__(self, path: Path = WEIGHTS) -> None:
        """Raises BundleError for a missing or changed file."""
        self._network = open_network(path, "face finder")

    def find(self, image: Image, least_px: float) -> list[Found]:
        """Faces of ``image`` (H, W, 3) uint8 RGB from ``least_px`` pixels of height on, surest
        first. Smaller ones take longer: 40 pixels in a video of 640 x 480 the least of time."""
        height, width = image.shape[:2]
        scale = min(max(math.sqrt(PIXELS / (height * width)), LEAST_PX / least_px), 1.0)
        small_w, small_h = max(round(width * scale), 8), max(round(height * scale), 8)
        small = cv2.resize(image, (small_w, small_h), interpolation=cv2.INTER_AREA)
        below, right = -small_h % MULTIPLE, -small_w % MULTIPLE
        small = cv2.copyMakeBorder(small, 0, below, 0, right, cv2.BORDER_REPLICATE)
        self._network.setInput(cv2.dnn.blobFromImage(small, 1 / 255), "image")
        heat, shape = self._network.forward(["heat", "shape"])
        belief = 1 / (1 + np.exp(-np.asarray(heat, np.float32)[0, 0]))
        peaks = (belief >= cv2.dilate(belief, np.ones((3, 3), np.uint8))) & (belief > BELIEF)
        found: list[Found] = []
        for row, column in sorted(np.argwhere(peaks).tolist(), key=lambda at: -belief[*at]):
            dx, dy, size = np.asarray(shape)[0, :, row, column].tolist()
            x = ((column + dx + 0.5) * STRIDE) * width / small_w - 0.5
            y = ((row + dy + 0.5) * STRIDE) * height / small_h - 0.5
            tall = UNIT_PX * math.exp(min(size, 4.0)) * height / small_h
            inside = -0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5  # not in the padding
            if inside and all(math.hypot(x - one.x, y - one.y) > 0.4 * one.height for one in found):
                found.append(Found(x, y, tall, float(belief[row, column])))
        return found

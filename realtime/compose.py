"""The square avatar picture on the wide picture of a call."""

import cv2
import numpy as np

from realtime.frame import Image

_BACKDROP_PX = 48
"""Shorter side of the small copy that is blurred for the backdrop."""
_BACKDROP_LIGHT = 0.45
"""Brightness of the backdrop against the picture's."""
_AVERAGE_BELOW = 0.7
"""Of a smaller scale, pixels are averaged; above, interpolated."""


def compose(image: Image, width: int, height: int) -> Image:
    """``image`` as large as fits, whole and centred, on a blurred, darkened copy of itself.

    image: (h, w, 3) uint8 RGB; returns a fresh (height, width, 3) uint8 RGB array.
    """
    scale = min(width / image.shape[1], height / image.shape[0])
    # An odd pixel of rounding would leave a hairline of backdrop.
    inner_width = min(width, round(image.shape[1] * scale))
    inner_height = min(height, round(image.shape[0] * scale))
    canvas = np.empty((height, width, 3), np.uint8)
    if (inner_width, inner_height) != (width, height):
        _backdrop(image, canvas)
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    inner = canvas[top : top + inner_height, left : left + inner_width]
    # Averaging costs ten times as much, and shows no sooner than where pixels would be skipped.
    small = cv2.INTER_AREA if scale < _AVERAGE_BELOW else cv2.INTER_LINEAR
    size = (inner_width, inner_height)
    cv2.resize(image, size, dst=inner, interpolation=cv2.INTER_CUBIC if scale > 1 else small)
    return canvas


def _backdrop(image: Image, canvas: Image) -> None:
    """The middle of ``image`` that has the canvas's shape, blurred on a small copy: cheap."""
    height, width = canvas.shape[:2]
    cover = min(image.shape[1] / width, image.shape[0] / height)
    cut_width, cut_height = max(1, int(width * cover)), max(1, int(height * cover))
    left, top = (image.shape[1] - cut_width) // 2, (image.shape[0] - cut_height) // 2
    cut = image[top : top + cut_height, left : left + cut_width]
    shrink = _BACKDROP_PX / min(width, height)
    small_size = max(1, round(width * shrink)), max(1, round(height * shrink))
    small = cv2.resize(cut, small_size, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), _BACKDROP_PX / 16, borderType=cv2.BORDER_REPLICATE)
    dark = cv2.convertScaleAbs(blurred, alpha=_BACKDROP_LIGHT)
    cv2.resize(dark, (width, height), dst=canvas, interpolation=cv2.INTER_LINEAR)

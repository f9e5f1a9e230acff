"""Pictures made larger without going soft, and smaller without flicker."""

from collections.abc import Callable

import cv2
import numpy as np

from realtime.frame import Image

_CRISP = 1.0
"""How much of what a blur takes away is added again to an enlarged picture."""
_AVERAGE_BELOW = 0.7
"""Of a smaller scale, pixels are averaged; above, interpolated."""


def scaled(picture: Image, width: int, height: int) -> Image:
    """(h, w, 3) uint8 RGB as (height, width, 3), itself where it has that size."""
    if picture.shape[:2] == (height, width):
        return picture
    scale = height / picture.shape[0]
    size = width, height
    if scale < 1:
        # Averaging costs ten times as much, and shows no sooner than where pixels would be skipped.
        how = cv2.INTER_AREA if scale < _AVERAGE_BELOW else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8)
    return _crisp(picture, scale, lambda one, how: cv2.resize(one, size, interpolation=how))


def placed(picture: Image, scale: float, left: float, top: float, width: int, height: int) -> Image:
    """A (height, width, ...) picture on which ``picture``, ``scale`` times as large, has its upper
    left corner at (left, top); around it its edge is repeated."""
    x = y = scale
    if scale < 1:  # averaged: a warp alone would skip pixels
        tall, wide = (max(1, round(side * scale)) for side in picture.shape[:2])
        x, y = scale * picture.shape[1] / wide, scale * picture.shape[0] / tall
        picture = np.asarray(
            cv2.resize(picture, (wide, tall), interpolation=cv2.INTER_AREA), np.uint8
        )
    # Corners of pixels lie half a pixel before their centres.
    move = np.array([[x, 0, left + (x - 1) / 2], [0, y, top + (y - 1) / 2]])
    size = width, height
    edge = cv2.BORDER_REPLICATE

    def moved(one: cv2.typing.MatLike, how: int) -> cv2.typing.MatLike:
        return cv2.warpAffine(one, move, size, flags=how, borderMode=edge)

    if scale > 1 and picture.ndim == 3:
        return _crisp(picture, scale, moved)
    return np.asarray(moved(picture, cv2.INTER_LINEAR), np.uint8)


def _crisp(
    picture: Image,
    scale: float,
    enlarge: Callable[[cv2.typing.MatLike, int], cv2.typing.MatLike],
) -> Image:
    """Enlarged and unsharp-masked, within what lies around each pixel in ``picture``: edges get
    steeper, and no brighter or darker rim."""
    large = enlarge(picture, cv2.INTER_LANCZOS4)
    blurred = cv2.GaussianBlur(large, (0, 0), 0.5 * scale)
    sharp = cv2.addWeighted(large, 1 + _CRISP, blurred, -_CRISP, 0)
    brush = np.ones((3, 3), np.uint8)
    low, high = (
        enlarge(extreme(picture, brush), cv2.INTER_LINEAR) for extreme in (cv2.erode, cv2.dilate)
    )
    return np.asarray(cv2.min(cv2.max(sharp, low), high), np.uint8)

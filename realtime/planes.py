"""Pictures as the live path has them, and as the networks take them.

A picture is (S, S, 3) uint8 RGB. Planes are (1, 3, S, S) float32 RGB 0..1.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import EngineError
from realtime.frame import Image

Planes = NDArray[np.float32]


def empty_planes(side: int) -> Planes:
    """Planes to write into, kept from frame to frame."""
    return np.empty((1, 3, side, side), np.float32)


def fill_planes(planes: Planes, picture: Image) -> None:
    """Write ``picture`` into ``planes``. Raises EngineError where size or type do not fit."""
    side = planes.shape[-1]
    if picture.shape != (side, side, 3) or picture.dtype != np.uint8:
        raise EngineError(
            f"the network takes ({side}, {side}, 3) uint8 pictures, "
            f"found {picture.shape} {picture.dtype}"
        )
    np.divide(picture.transpose(2, 0, 1), np.float32(255), out=planes[0], dtype=np.float32)


def to_picture(planes: Planes) -> Image:
    """A fresh picture of ``planes``, clipped to 0..1 and rounded. ``planes`` is used up."""
    np.multiply(planes, 255, out=planes)
    np.rint(planes, out=planes)
    np.clip(planes, 0, 255, out=planes)
    return np.asarray(cv2.merge(tuple(planes[0].astype(np.uint8))), np.uint8)

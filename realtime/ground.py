"""What stands still behind the person in an avatar's picture.

Networks move what lies around a face along with it, and lines behind a head bend. Where a matte
tells the person, he alone moves, before his own background: what he hid of it is filled in from
around him, once.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime.frame import Image
from realtime.matte import Matte

_FILLED_PX = 192
"""Longer side of the copy in which what is hidden is filled in: only a rim of it is ever seen."""
_RADIUS = 3.0
"""Pixels of that copy which a filled one is a mean of (Telea 2004)."""
_UNLIKELY, _STEEPER = 102, 2.5
"""A matte of at most the first, of 255, stands still, and from there it rises so much faster: the
haze that a network sees in leaves and crowds would drag them along."""
_LEAST = 0.1
"""Colours are found behind a cover of at least that much."""


def with_rim(matte: Matte, width: float) -> Matte:
    """The person, as far as he is likely, and ever less of what lies ``width`` pixels around him:
    hairs that the matte lacks and his shade move along, and leave no outline behind."""
    sure = np.clip((matte.astype(np.float32) - _UNLIKELY) * _STEEPER, 0, 255).astype(np.uint8)
    around = 1.5 - distance(sure) / np.float32(max(width, 1.0))
    return np.asarray(np.maximum(sure, np.clip(around, 0, 1) * 255), np.uint8)


def distance(matte: Matte) -> NDArray[np.float32]:
    """How far each pixel is from the person, in pixels."""
    nobody = np.asarray(matte < 128, np.uint8)
    if nobody.all():
        return np.full(matte.shape, np.inf, np.float32)
    return np.asarray(cv2.distanceTransform(nobody, cv2.DIST_L2, 3), np.float32)


def ground_behind(picture: Image, matte: Matte) -> Image:
    """The background of (H, W, 3) uint8 RGB without the person of ``matte``, which has a rim: where
    that begins, the picture itself."""
    height, width = matte.shape
    scale = min(_FILLED_PX / max(height, width), 1.0)
    small = max(1, round(width * scale)), max(1, round(height * scale))
    hidden = cv2.threshold(matte, 0, 255, cv2.THRESH_BINARY)[1]
    unknown = cv2.resize(hidden, small, interpolation=cv2.INTER_AREA)
    copy = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    filled = cv2.inpaint(copy, unknown, _RADIUS, cv2.INPAINT_TELEA)
    filled = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC)
    share = np.clip(matte.astype(np.float32) / 255 * 2 - 0.5, 0, 1)
    return np.asarray(cv2.blendLinear(filled, picture, share, 1 - share), np.uint8)


def person_before(picture: Image, matte: Matte, ground: Image) -> Image:
    """The person's own colours: before ``ground`` they give ``picture`` again."""
    cover = matte[..., None].astype(np.float32) / 255
    own = (picture - (1 - cover) * ground) / np.maximum(cover, _LEAST)
    own = np.where(cover > 0, own + 0.5, picture)
    return np.clip(own, 0, 255).astype(np.uint8)

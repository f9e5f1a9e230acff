"""The person without background: for sinks that keep transparency.

All sinks get the person before chroma-key green; from it and the frame's alpha the person's own
colours are found again, with the label and the marks that were put on the picture.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from config.schema import LabelSettings
from provenance.badge import Area, draw_label
from realtime.frame import Frame
from realtime.matte import Matte

KEY = (0, 255, 0)
"""Chroma-key green, RGB: what OBS and others look for by default."""


def cut_out(frame: Frame) -> NDArray[np.uint8]:
    """(H, W, 4) uint8 RGBA, colours not multiplied by alpha; opaque where the frame has none."""
    if frame.alpha is None:
        opaque = np.full(frame.image.shape[:2], 255, np.uint8)
        return np.dstack([frame.image, opaque])
    cover = frame.alpha.astype(np.float32)[..., None] / 255
    key = np.array(KEY, np.float32)
    colours = key + (frame.image - key) / np.maximum(cover, 1 / 255)
    colours = np.where(cover > 0, np.clip(colours, 0, 255) + 0.5, 0)
    return np.dstack([colours.astype(np.uint8), frame.alpha])


def with_label(alpha: Matte, label: LabelSettings, face: Area | None = None) -> Matte:
    """``alpha`` (H, W) with the label's own cover: it is not transparent where the picture is.
    ``face``: as in ``draw_label``."""
    return np.maximum(alpha, _label_cover(label, face, *alpha.shape))


@lru_cache(maxsize=2)
def _label_cover(label: LabelSettings, face: Area | None, height: int, width: int) -> Matte:
    """What the label leaves of the difference of black and white is what shines through it."""
    black, white = (np.full((height, width, 3), level, np.uint8) for level in (0, 255))
    draw_label(black, label, face)
    draw_label(white, label, face)
    return 255 - (white - black)[..., 0]

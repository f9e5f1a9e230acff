"""Pictures side by side, as the articles on face animation show them."""

from collections.abc import Mapping

import cv2
import numpy as np

from realtime.frame import Image

CAPTION = 0.085
"""Height of the strip for the captions, of a panel's side."""
_PAPER = (24, 26, 32)
_INK = (222, 226, 234)


def side_by_side(panels: Mapping[str, Image], side: int, captions: bool = False) -> Image:
    """Square pictures (s, s, 3) uint8 RGB in a row, each ``side`` pixels, the captions above them.

    Returns (height, len(panels) * side, 3); see ``row_size``.
    """
    width, height = row_size(len(panels), side, captions)
    row = np.full((height, width, 3), _PAPER, np.uint8)
    for number, (caption, image) in enumerate(panels.items()):
        left = number * side
        row[height - side :, left : left + side] = _fitted(image, side)
        if captions:
            _write(row[: height - side, left : left + side], caption)
    return row


def row_size(count: int, side: int, captions: bool) -> tuple[int, int]:
    """(width, height) of the row, both even where ``side`` is."""
    strip = 2 * round(side * CAPTION / 2) if captions else 0
    return count * side, side + strip


def _fitted(image: Image, side: int) -> Image:
    if image.shape[0] == side:
        return image
    method = cv2.INTER_CUBIC if side > image.shape[0] else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, (side, side), interpolation=method), np.uint8)


def _write(strip: Image, caption: str) -> None:
    font, height = cv2.FONT_HERSHEY_SIMPLEX, strip.shape[0]
    scale = height / 42
    (wide, tall), _ = cv2.getTextSize(caption, font, scale, 1)
    place = ((strip.shape[1] - wide) // 2, (height + tall) // 2)
    cv2.putText(strip, caption, place, font, scale, _INK, 1, cv2.LINE_AA)

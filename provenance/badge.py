"""The visible label: says "AI" on every frame, in a corner, over anything.

White letters on a dark pill with a thin light rim: legible on light and dark pictures and for every
kind of colour vision. It is drawn after mirroring, so it is never mirrored itself. Where its corner
would cover the face, it goes to the nearest one that does not.
"""

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from config.schema import LabelSettings

LEAST_PX = 20
"""Smallest height of the label: below, the letters run together."""

_SHARPER = 8
"""Drawn this many times larger, then averaged down: smooth edges at any size."""
_FONT = cv2.FONT_HERSHEY_DUPLEX
_PILL = 18
_LETTERS = 255
_RIM = 150


class Area(NamedTuple):
    """A rectangle of a picture, pixels; right and bottom lie just outside."""

    left: float
    top: float
    right: float
    bottom: float

    def shared(self, other: "Area") -> float:
        """The area that both cover, pixels."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)


def draw_label(image: NDArray[np.uint8], settings: LabelSettings, face: Area | None = None) -> None:
    """Blend the label into ``image``, (H, W, 3) uint8 RGB, in place; nothing where not enabled.

    ``face``: what it shall not cover.
    """
    if not settings.enabled:
        return
    height, width = image.shape[:2]
    pixel_height = max(round(settings.size * min(height, width)), LEAST_PX)
    light, cover = _pill(settings.text, pixel_height)
    margin = max(min(round(pixel_height * 0.4), min(height, width) // 8), 1)
    label_height, label_width = cover.shape[:2]
    room = min((width - 2 * margin) / label_width, (height - 2 * margin) / label_height)
    if room < 1:  # a long text on a small picture: as large as fits
        light, cover = _pill(settings.text, max(int(pixel_height * room), 1))
        label_height, label_width = cover.shape[:2]
    vertical, horizontal = settings.position.split("-")
    tops = [margin, height - margin - label_height][:: 1 if vertical == "top" else -1]
    lefts = [margin, width - margin - label_width][:: 1 if horizontal == "left" else -1]
    corners = [(top, left) for top in tops for left in lefts]

    def covered(corner: tuple[int, int]) -> float:
        top, left = corner
        return face.shared(Area(left, top, left + label_width, top + label_height)) if face else 0

    top, left = min(corners, key=covered)  # the first of those that are as good
    part = image[max(top, 0) : top + label_height, max(left, 0) : left + label_width]
    alpha = cover[: part.shape[0], : part.shape[1]] * np.float32(settings.opacity)
    part[:] = (part + (light[: part.shape[0], : part.shape[1]] - part) * alpha + 0.5).astype(
        np.uint8
    )


@lru_cache(maxsize=8)
def _pill(text: str, height: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The label's brightness 0..255 and its cover 0..1, both (h, w, 1) float32."""
    tall = height * _SHARPER
    thickness = max(round(tall * 0.075), 1)
    # Capital letters fill 52 % of the pill; OpenCV's size 1 is about 21 pixels high.
    (_, cap), _ = cv2.getTextSize("A", _FONT, 1.0, 1)
    scale = 0.52 * tall / cap
    (text_width, text_height), _ = cv2.getTextSize(text, _FONT, scale, thickness)
    wide = -(-(text_width + round(tall * 0.8)) // _SHARPER) * _SHARPER
    light = np.full((tall, wide), _RIM, np.uint8)
    cover = np.zeros((tall, wide), np.uint8)
    rim = max(tall // 24, 1)
    _fill_pill(cover, 0, 255)
    _fill_pill(light, rim, _PILL)
    origin = ((wide - text_width) // 2, (tall + text_height) // 2)
    cv2.putText(light, text, origin, _FONT, scale, _LETTERS, thickness, cv2.LINE_AA)
    size = (wide // _SHARPER, height)
    small = [cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in (light, cover)]
    planes = [np.asarray(one, np.float32)[..., None] for one in small]
    return planes[0], np.asarray(planes[1] / 255, np.float32)


def _fill_pill(plane: NDArray[np.uint8], inset: int, value: int) -> None:
    tall, wide = plane.shape
    radius = tall // 2 - inset
    for x in (inset + radius, wide - 1 - inset - radius):
        cv2.circle(plane, (x, tall // 2), radius, value, cv2.FILLED)
    left, right = inset + radius, wide - 1 - inset - radius
    cv2.rectangle(plane, (left, inset), (right, tall - 1 - inset), value, cv2.FILLED)

"""The compact network's last step: the avatar's own pixels, moved, and what was painted over them.

The network says where each pixel comes from on 64x64 cells, and paints at 256 pixels what the
avatar cannot show. Carrying the pixels is left to OpenCV, which moves uint8 pictures of any size
several times faster than a network's runtime: an avatar of 512 pixels keeps its detail.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime.frame import Image

NETWORK_SIDE = 256
"""Pixels between whose first and last centre displacements count as -1..1."""

Array = NDArray[np.float32]


class Carrier:
    """Holds one avatar's picture and moves it. Not thread-safe: its own buffers are used again."""

    def __init__(self, avatar: Image) -> None:
        """``avatar``: (S, S, 3) uint8 RGB; so will be the results."""
        self._avatar = avatar
        side = avatar.shape[0]
        steps = np.arange(side, dtype=np.float32)
        self._grid = np.stack(np.meshgrid(steps, steps), -1)  # (S, S, 2), x and y of each pixel
        # From -1..1 over the network's pixel centres to pixels of this picture.
        self._scale = np.float32((NETWORK_SIDE - 1) / NETWORK_SIDE * side / 2)
        # New memory costs more than the work in it: 400 pages a buffer and frame.
        self._source = np.empty_like(self._grid)
        self._paint = np.empty_like(avatar)
        self._keep = np.empty((side, side), np.uint8)
        self._keep_rgb = np.empty_like(avatar)

    def __call__(self, displacement: Array, painted: Array, alpha: Array) -> Image:
        """A fresh (S, S, 3) uint8 RGB picture.

        displacement (2, n, n): where each cell's content lies in the avatar, minus the cell's own
        place, -1..1; painted (3, m, m) RGB 0..1; alpha (1, m, m): 1 carries, 0 paints.
        """
        size = self._grid.shape[:2]
        cells = np.ascontiguousarray(displacement.transpose(1, 2, 0)) * self._scale
        cv2.resize(cells, size, dst=self._source, interpolation=cv2.INTER_LINEAR)
        cv2.add(self._source, self._grid, dst=self._source)
        picture = np.empty_like(self._avatar)
        nothing = np.empty(0)
        cv2.remap(
            self._avatar,
            self._source,
            nothing,
            cv2.INTER_LINEAR,
            dst=picture,
            borderMode=cv2.BORDER_REPLICATE,
        )
        # Paint is weighed before it is enlarged, and the blend done in uint8: a quarter of the
        # time of weights in float at full size, and at most 1 of 255 away from it.
        share = (1 - alpha) * 255
        levels = cv2.merge([cv2.convertScaleAbs(plane) for plane in painted * share])
        cv2.resize(levels, size, dst=self._paint, interpolation=cv2.INTER_CUBIC)
        keep = cv2.convertScaleAbs(alpha[0], alpha=255)
        cv2.resize(keep, size, dst=self._keep, interpolation=cv2.INTER_LINEAR)
        cv2.merge([self._keep] * 3, self._keep_rgb)
        cv2.multiply(picture, self._keep_rgb, dst=picture, scale=1 / 255)
        return np.asarray(cv2.add(picture, self._paint, dst=picture), np.uint8)

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
    """Holds one avatar's picture and moves it."""

    def __init__(self, avatar: Image) -> None:
        """``avatar``: (S, S, 3) uint8 RGB; so will be the results."""
        self._avatar = avatar
        side = avatar.shape[0]
        steps = np.arange(side, dtype=np.float32)
        self._grid = np.stack(np.meshgrid(steps, steps), -1)  # (S, S, 2), x and y of each pixel
        # From -1..1 over the network's pixel centres to pixels of this picture.
        self._scale = np.float32((NETWORK_SIDE - 1) / NETWORK_SIDE * side / 2)

    def __call__(self, displacement: Array, painted: Array, alpha: Array) -> Image:
        """A fresh (S, S, 3) uint8 RGB picture.

        displacement (2, n, n): where each cell's content lies in the avatar, minus the cell's own
        place, -1..1; painted (3, m, m) RGB 0..1; alpha (1, m, m): 1 carries, 0 paints.
        """
        size = self._grid.shape[:2]
        cells = np.ascontiguousarray(displacement.transpose(1, 2, 0)) * self._scale
        source = cv2.resize(cells, size, interpolation=cv2.INTER_LINEAR)
        cv2.add(source, self._grid, dst=source)
        carried = cv2.remap(
            self._avatar, source, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        levels = cv2.merge(tuple(cv2.convertScaleAbs(plane, alpha=255) for plane in painted))
        paint = cv2.resize(levels, size, interpolation=cv2.INTER_CUBIC)
        weight = cv2.resize(alpha[0], size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.blendLinear(carried, paint, weight, 1 - weight), np.uint8)

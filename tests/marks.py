"""A driving picture that is known again: blocks of random light and dark, and what looks for them.

The blocks repeat as one tile in all of the picture, so that any part of it of some 9 blocks holds
the tile from one of four places on; it is looked for at all scales, mirrored too. Normalised
correlation does not ask how faint or how bright the blocks are.
"""

from functools import lru_cache

import cv2
import numpy as np

from realtime.frame import Image

BLOCK = 16
"""Side of a block, driving pixels."""
TILE = 6
"""Blocks in a tile's row and column."""
SMALLEST, LARGEST = 0.2, 2.0
"""Scales looked at: output pixels to a driving pixel."""
KNOWN = 0.66
"""From this correlation on it is the driving picture: shining through to a third it has 0.72,
avatars have up to 0.6."""

_STEP = 1.14
_COARSE_PX = 3.0
"""Blocks of this many pixels are enough: larger ones are looked for in a smaller picture."""


def driving(width: int = 640, height: int = 480) -> Image:
    """The marked picture, (height, width, 3) uint8 RGB."""
    side = BLOCK * TILE
    tile = cv2.resize(_tile(), (side, side), interpolation=cv2.INTER_NEAREST)
    tiled = np.tile(tile, (height // side + 1, width // side + 1))[:height, :width]
    return np.ascontiguousarray(np.repeat(tiled[..., None], 3, axis=2))


def likeness(image: Image) -> float:
    """The best correlation, -1..1, of any place of (H, W, 3) uint8 RGB with the marks."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    best = -1.0
    smaller: dict[float, np.ndarray] = {1.0: grey}
    for scale in np.geomspace(
        SMALLEST, LARGEST, round(np.log(LARGEST / SMALLEST) / np.log(_STEP)) + 1
    ):
        shrink = 0.5 ** max(0, int(np.log2(scale * BLOCK / _COARSE_PX)))
        if shrink not in smaller:
            smaller[shrink] = cv2.resize(
                grey, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA
            )
        seen = smaller[shrink]
        for wanted in _looks(round(float(scale) * shrink * BLOCK * TILE)):
            if wanted.shape[0] <= min(seen.shape):
                found = cv2.matchTemplate(seen, wanted, cv2.TM_CCOEFF_NORMED)
                best = max(best, float(found.max()))
    return best


def shows_driving(image: Image) -> bool:
    """True where a part of the driving picture is to be seen."""
    return likeness(image) >= KNOWN


def _tile() -> np.ndarray:
    rng = np.random.default_rng(20)
    levels = np.array([10, 245] * (TILE * TILE // 2), np.uint8)
    return rng.permutation(levels).reshape(TILE, TILE)


@lru_cache(maxsize=64)
def _looks(side: int) -> tuple[np.ndarray, ...]:
    """The tile from four places on and their mirror images, ``side`` pixels."""
    half = TILE // 2
    shifted = [np.roll(_tile(), (y, x), (0, 1)) for y in (0, half) for x in (0, half)]
    both = [one for tile in shifted for one in (tile, tile[:, ::-1])]
    large = [np.kron(one, np.ones((8, 8), np.uint8)) for one in both]
    return tuple(cv2.resize(one, (side, side), interpolation=cv2.INTER_AREA) for one in large)

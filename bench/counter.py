"""A number as black and white blocks in the corner of a picture: it goes through JPEG and H.264 as
pixels, and tells which frame a far end is looking at.

8 x 4 blocks of 16 pixels, the size in which video codecs work: one row of alternating blocks that
says black and white, 16 bits of the number and 8 bits to check them, highest bit first.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

from realtime.frame import Image

BLOCK = 16
WIDTH, HEIGHT = 8 * BLOCK, 4 * BLOCK
"""Pixels of the whole code, in the upper left corner of a picture."""
NUMBERS = 1 << 16
_EDGE = 4
"""Pixels of a block's border that are not looked at: codecs blur them."""
_LEAST_CONTRAST = 60.0
_PATTERN = np.array([1, 0, 1, 0, 1, 0, 1, 0], bool)


def draw_counter(image: Image, number: int) -> None:
    """Draw ``number`` (0 to ``NUMBERS`` - 1) into ``image``, (H, W, 3) uint8, at least WIDTH x
    HEIGHT."""
    cells = np.kron(_cells(number), np.ones((BLOCK, BLOCK), np.uint8))
    image[:HEIGHT, :WIDTH] = 255 * cells[:, :, None]


def copy_counter(source: Image, target: Image) -> None:
    """Copy the pixels of the code as they are, both (H, W, 3) uint8."""
    target[:HEIGHT, :WIDTH] = source[:HEIGHT, :WIDTH]


def read_counter(image: Image) -> int | None:
    """The number in ``image``, (H, W, 3) or (H, W) uint8; None where there is none to be read."""
    corner = image[:HEIGHT, :WIDTH]
    if corner.shape[:2] != (HEIGHT, WIDTH):
        return None
    light = corner.mean(axis=2) if corner.ndim == 3 else corner.astype(np.float64)
    blocks = light.reshape(4, BLOCK, 8, BLOCK)[:, _EDGE:-_EDGE, :, _EDGE:-_EDGE].mean(axis=(1, 3))
    white, black = blocks[0, _PATTERN].min(), blocks[0, ~_PATTERN].max()
    if white - black < _LEAST_CONTRAST:
        return None
    cells = blocks > (white + black) / 2
    high, low = (int(byte) for byte in np.packbits(cells[1:3]))
    number = 256 * high + low
    return number if np.array_equal(cells, _cells(number)) else None


def _cells(number: int) -> NDArray[np.bool_]:
    """(4, 8): True is white."""
    data = number.to_bytes(2, "big")
    check = zlib.crc32(data) & 0xFF
    bits = np.unpackbits(np.frombuffer(data + bytes([check]), np.uint8)).astype(bool)
    return np.concatenate([_PATTERN[None], bits.reshape(3, 8)])

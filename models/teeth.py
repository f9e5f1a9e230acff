"""Pictures of teeth as they are seen from the front, drawn from their sizes.

Sizes are means of Ash and Nelson, Wheeler's Dental Anatomy, 8th edition; colours are the mouth's.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HALF = 25.0
"""Half width of a mouth at rest, mm: the unit of what follows."""
SIDE, ABOVE, BELOW = 1.3, 0.7, 0.5
"""How far a picture of upper teeth reaches left and right of their middle, and above and below
their edges. That of lower teeth is upside down."""
SHAPE = 48, 104
"""Rows and columns: as fine as a mouth in a picture of 256 pixels."""

_ARCH = 27.0
"""Radius of the arch that teeth stand on, mm: those at the side are seen from their side."""
_FINE = 8
"""Drawn so many times as large, so that edges are smooth."""


class _Jaw(NamedTuple):
    """Teeth of one side, from the middle, mm."""

    widths: tuple[float, ...]
    lengths: tuple[float, ...]
    raised: tuple[float, ...]
    """How much further back than the first one's an edge is."""


_UPPER = _Jaw((8.5, 6.5, 7.5, 7, 7, 10), (10.5, 9, 10, 8.5, 8.5, 7.5), (0, 0.8, 0.2, 0.8, 1.2, 1.7))
_LOWER = _Jaw((5, 5.5, 7, 7, 7, 11), (9, 9.5, 11, 8.5, 8, 7.5), (0, 0.1, 0.2, 0.8, 1.0, 1.2))


def teeth() -> NDArray[np.float32]:
    """Upper ones and lower ones, (2, 2, *SHAPE), 0..1: light on teeth, and on gums."""
    return np.stack([_drawn(_UPPER), _drawn(_LOWER)[:, ::-1]])


def _drawn(jaw: _Jaw) -> NDArray[np.float32]:
    """Edges down."""
    rows, columns = (side * _FINE for side in SHAPE)
    y = (((np.arange(rows) + 0.5) / rows) * (ABOVE + BELOW) - ABOVE)[:, None] * HALF
    x = np.abs((np.arange(columns) + 0.5) / columns * 2 - 1)[None] * (SIDE * HALF)
    on_arch = x < _ARCH
    arc = _ARCH * np.arcsin(np.clip(x / _ARCH, 0, 1))
    ends = np.cumsum((0, *jaw.widths))
    drawn = np.zeros((2, rows, columns), np.float32)
    for start, end, length, raised in zip(
        ends[:-1], ends[1:], jaw.lengths, jaw.raised, strict=True
    ):
        across = (2 * arc - start - end) / (end - start)
        here = on_arch & (np.abs(across) < 1)
        edge = -raised - 0.75 * across**6 - 0.3 * across**2
        gum = -raised - length + 1.2 * across**2
        facing = 0.5 + 0.5 * np.cos((start + end) / 2 / _ARCH)
        # Darker between teeth, and towards the gums.
        light = (1 - 0.2 * across**8 - 0.06 * across**2) * (0.9 + 0.1 * (y - gum) / length)
        tooth, flesh = here & (y > gum) & (y < edge), here & (y <= gum)
        drawn[0] += np.where(tooth, light * facing, 0)
        drawn[1] += np.where(flesh, facing, 0)
    coarse = drawn.reshape(2, SHAPE[0], _FINE, SHAPE[1], _FINE).mean((2, 4))
    return np.asarray(coarse, np.float32)

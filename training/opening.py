"""An eye or a mouth of a picture, seen from between its corners: what shuts it is told along and
down that line."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Opening:
    """The line from the left corner of the picture to the right one, pixels."""

    start: Floats
    across: Floats
    """Unit vector to the right corner."""
    down: Floats
    """Unit vector across it."""
    width: float

    @classmethod
    def between(cls, corners: Floats) -> "Opening":
        """Of both corners (2, 2), left one first."""
        start, end = corners
        width = max(float(np.hypot(*(end - start))), 1.0)
        across = (end - start) / width
        return cls(start, across, np.array([-across[1], across[0]], np.float32), width)

    def places(self, columns: NDArray[np.generic], rows: NDArray[np.generic]) -> tuple[Floats, ...]:
        """Of pixels: how far along and how far down they are."""
        x, y = columns - self.start[0], rows - self.start[1]
        along = x * self.across[0] + y * self.across[1]
        return along, x * self.down[0] + y * self.down[1]

    def edge(self, points: Floats, along: Floats) -> Floats:
        """How far down, at ``along``, the line from corner to corner through ``points`` (N, 2)
        is."""
        seen = points - self.start
        knots = np.concatenate([[0.0], seen @ self.across, [self.width]])
        heights = np.concatenate([[0.0], seen @ self.down, [0.0]])
        return np.asarray(np.interp(along, knots, heights), np.float32)


def taken_from(down: Floats, new: tuple[Floats, ...], old: tuple[Floats, ...]) -> Floats:
    """Where what is to be at ``down`` is now: ``new`` knots, each below the last, are to hold what
    the ``old`` ones do, what lies between is stretched, all else stays."""
    found = down.copy()
    for number in range(len(new) - 1):
        inside = (down >= new[number]) & (down < new[number + 1])
        part = (down - new[number]) / np.maximum(new[number + 1] - new[number], 1e-3)
        found = np.where(inside, old[number] + part * (old[number + 1] - old[number]), found)
    return found

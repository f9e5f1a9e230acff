"""Where in a picture a marked one may lie: whole, cropped, between bars, a window on a screen."""

import math
from dataclasses import dataclass

STEP = 1.035
"""Between two sizes that are tried: at the edges the pattern is off by a quarter of a cell."""
LARGEST = 1.12
"""Of the picture: what remains of a marked one that was cropped."""
SMALLEST = 0.2
"""Of the picture's width and height: smaller windows on a screen are not looked for."""
ASPECTS = (16 / 9, 4 / 3, 1.0, 3 / 4, 9 / 16)
"""Width to height of marked pictures that lie within larger ones."""


@dataclass(frozen=True, slots=True)
class Place:
    """A rectangle in parts of the picture's width and height; it may reach over the edges."""

    left: float
    top: float
    width: float
    height: float
    mirrored: bool = False


def whole_sizes() -> list[tuple[float, float]]:
    """(width, height) of marked pictures that fill the one at hand: whole or cropped."""
    sides = [STEP**step for step in range(math.floor(math.log(LARGEST, STEP)) + 1)]
    return [(width, height) for width in sides for height in sides]


def part_sizes(aspect: float) -> list[tuple[float, float]]:
    """(width, height) of marked pictures between bars or in a window on a screen of this
    ``aspect``, largest first."""
    shrink = [STEP**-step for step in range(1, math.floor(math.log(1 / SMALLEST, STEP)) + 1)]
    sizes = {(1.0, side) for side in shrink} | {(side, 1.0) for side in shrink}
    enlarged = [STEP**step for step in range(math.floor(math.log(LARGEST, STEP)) + 1)]
    for own in ASPECTS:
        across = own / aspect
        for height in (*enlarged, *shrink):
            width = height * across
            if SMALLEST <= width <= LARGEST:
                sizes.add((width, height))
    return sorted(sizes, key=lambda size: -size[0] * size[1])

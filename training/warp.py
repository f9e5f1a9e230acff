"""A picture bent so that given points land on given places: a thin-plate spline."""

import cv2
import numpy as np
from numpy.typing import NDArray

CELLS = 64
"""The spline is computed at the corners of so many cells a side, and linear between them."""
STIFFNESS = 1e-5
"""Lets the points miss their places by a hair: two that nearly coincide would tear the picture."""

_PLACES = (-0.12, 0.2, 0.5, 0.8, 1.12)
_ANCHORS = np.array(
    [[x, y] for x in _PLACES for y in _PLACES if {x, y} & {_PLACES[0], _PLACES[-1]}]
)
"""Points around the picture that stay, in sides of it."""


def thin_plate_warp(
    image: NDArray[np.uint8],
    points: NDArray[np.float32],
    target: NDArray[np.float32],
    cells: int = CELLS,
    edges: NDArray[np.float32] | None = None,
) -> NDArray[np.uint8]:
    """The square ``image`` (S, S, C) bent so that ``points`` land on ``target``, edges held.

    Both (N, 2) pixels, whole numbers at pixel centres. ``edges``: how far the picture's edges go
    instead, (2, 2) pixels, x and y of the upper one and of the lower one, in between as far as in
    between. Thin-plate spline (Bookstein 1989).
    """
    size = image.shape[0]
    held = _ANCHORS
    if edges is not None:
        down = np.clip(_ANCHORS[:, 1:], 0, 1)
        held = _ANCHORS + (edges[0] * (1 - down) + edges[1] * down) / size
    knots = np.vstack([target / size, held])
    values = np.vstack([points / size, _ANCHORS])
    n = len(knots)
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = _radial(knots, knots) + STIFFNESS * np.eye(n)
    system[:n, n], system[:n, n + 1 :] = 1, knots
    system[n:, :n] = system[:n, n:].T
    weights = np.linalg.solve(system, np.vstack([values, np.zeros((3, 2))]))
    line = np.arange(cells + 1) / cells
    corners = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    bent = _radial(corners, knots) @ weights[:n] + weights[n]
    bent = ((bent + corners @ weights[n + 1 :]) * size).astype(np.float32)
    # Not cv2.resize: it takes the corners for the middles of cells, and the picture would grow.
    place = np.arange(size, dtype=np.float32) * (cells / size)
    columns, rows = np.meshgrid(place, place)
    from_x, from_y = cv2.split(
        cv2.remap(bent.reshape(cells + 1, cells + 1, 2), columns, rows, cv2.INTER_LINEAR)
    )
    edge = cv2.BORDER_REFLECT_101 if edges is None else cv2.BORDER_REPLICATE
    return np.asarray(cv2.remap(image, from_x, from_y, cv2.INTER_LINEAR, borderMode=edge), np.uint8)


def _radial(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    x, y = (one[:, None, axis] - other[None, :, axis] for axis in (0, 1))
    square = x * x + y * y
    return np.asarray(square * np.log(square + 1e-9), np.float64)

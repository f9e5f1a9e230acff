"""Triangles to pixels with numpy: a depth buffer without a graphics card."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drawing.curves import Array

_SIDES = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
_EDGE = np.float32(1e-4)  # neighbours share their edge's pixels, so no seam stays open


class Raster(NamedTuple):
    """The nearest surface at each pixel."""

    values: Array
    """(H, W, C) float32, the attributes there; 0 where nothing is."""
    covered: NDArray[np.bool_]
    """(H, W)"""


def grid_triangles(rows: int, columns: int, start: int = 0) -> NDArray[np.intp]:
    """(T, 3) vertex numbers of a grid of vertices stored row by row from number ``start``."""
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel() + start
    first = np.stack([corner, corner + 1, corner + columns + 1], axis=1)
    second = np.stack([corner, corner + columns + 1, corner + columns], axis=1)
    return np.concatenate([first, second])


def rasterise(
    points: Array,
    nearness: Array,
    attributes: Array,
    triangles: NDArray[np.intp],
    width: int,
    height: int,
    facing: int = 1,
) -> Raster:
    """Draw triangles of one winding.

    ``points`` (N, 2) pixels, whole numbers at pixel centres; ``nearness`` (N,), larger wins;
    ``attributes`` (N, C) float32, interpolated linearly; ``triangles`` (T, 3) vertex numbers,
    drawn where their winding on the picture has the sign of ``facing`` (1: clockwise).
    """
    px, py = points[:, 0].astype(np.float32), points[:, 1].astype(np.float32)
    a, b, c = triangles.T
    ax, ay = px[a], py[a]
    bx, by, cx, cy = px[b] - ax, py[b] - ay, px[c] - ax, py[c] - ay
    area = bx * cy - by * cx
    front = np.flatnonzero(area * facing > 1e-6)
    ax, ay, bx, by, cx, cy, area = (line[front] for line in (ax, ay, bx, by, cx, cy, area))
    zero = np.float32(0)
    left = np.maximum(np.ceil(ax + np.minimum(np.minimum(bx, cx), zero) - _EDGE), 0)
    top = np.maximum(np.ceil(ay + np.minimum(np.minimum(by, cy), zero) - _EDGE), 0)
    right = np.minimum(np.floor(ax + np.maximum(np.maximum(bx, cx), zero) + _EDGE), width - 1)
    bottom = np.minimum(np.floor(ay + np.maximum(np.maximum(by, cy), zero) + _EDGE), height - 1)
    wide, tall = right - left, bottom - top
    side = np.where((wide >= 0) & (tall >= 0), np.maximum(wide, tall) + 1, 0)
    # Weights of the corners b and c grow linearly over the picture: w = w0 + wx * x + wy * y.
    b_x, b_y, c_x, c_y = cy / area, -cx / area, -by / area, bx / area
    b_0 = (left - ax) * b_x + (top - ay) * b_y
    c_0 = (left - ax) * c_x + (top - ay) * c_y

    pixels, owners, weights_b, weights_c = [], [], [], []
    previous = 0
    for limit in (*_SIDES, max(width, height)):
        chosen = np.flatnonzero((side > previous) & (side <= limit))
        previous = limit
        if not len(chosen):
            continue
        row, column = (line.ravel() for line in np.indices((limit, limit), np.float32))
        wb = b_0[chosen, None] + b_x[chosen, None] * column + b_y[chosen, None] * row
        wc = c_0[chosen, None] + c_x[chosen, None] * column + c_y[chosen, None] * row
        inside = (np.minimum(wb, wc) >= -_EDGE) & (wb + wc <= 1 + _EDGE)
        inside &= (column <= wide[chosen, None]) & (row <= tall[chosen, None])
        triangle, cell = np.nonzero(inside)
        owner = chosen[triangle]
        start = (top[owner] * width + left[owner]).astype(np.intp)
        pixels.append(start + (row * width + column).astype(np.intp)[cell])
        owners.append(owner)
        weights_b.append(wb[inside])
        weights_c.append(wc[inside])

    values = np.zeros((height * width, attributes.shape[1]), np.float32)
    covered = np.zeros(height * width, bool)
    if pixels:
        pixel = np.concatenate(pixels)
        wb, wc = np.concatenate(weights_b), np.concatenate(weights_c)
        vertex = triangles[front[np.concatenate(owners)]]
        near = nearness.astype(np.float32)[vertex]
        depth = near[:, 0] + wb * (near[:, 1] - near[:, 0]) + wc * (near[:, 2] - near[:, 0])
        nearest = np.full(height * width, -np.inf, np.float32)
        np.maximum.at(nearest, pixel, depth)
        won = np.flatnonzero(depth >= nearest[pixel])
        first, second, third = (attributes[vertex[won, corner]] for corner in range(3))
        second -= first
        third -= first
        second *= wb[won, None]
        third *= wc[won, None]
        first += second
        first += third
        values[pixel[won]] = first
        covered[pixel[won]] = True
    return Raster(values.reshape(height, width, -1), covered.reshape(height, width))

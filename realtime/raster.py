"""Triangles to pixels with numpy: a depth buffer without a graphics card."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
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
    corner = points.astype(np.float32)[triangles]
    ax, ay = corner[:, 0, 0], corner[:, 0, 1]
    bx, by = corner[:, 1, 0] - ax, corner[:, 1, 1] - ay
    cx, cy = corner[:, 2, 0] - ax, corner[:, 2, 1] - ay
    area = bx * cy - by * cx
    low = np.ceil(corner.min(axis=1) - 1e-3)
    high = np.floor(corner.max(axis=1) + 1e-3)
    low = np.maximum(low, 0).astype(np.int32)
    high = np.minimum(high, (width - 1, height - 1)).astype(np.int32)
    span = high - low + 1
    side = np.where((span.min(axis=1) > 0) & (area * facing > 1e-6), span.max(axis=1), 0)

    pixels, owners, weights_b, weights_c = [], [], [], []
    previous = 0
    for limit in (*_SIDES, max(width, height)):
        chosen = np.nonzero((side > previous) & (side <= limit))[0]
        previous = limit
        if not len(chosen):
            continue
        steps = np.arange(limit, dtype=np.int32)
        x = low[chosen, 0, None] + steps
        y = low[chosen, 1, None] + steps
        dx = (x.astype(np.float32) - ax[chosen, None])[:, None, :]
        dy = (y.astype(np.float32) - ay[chosen, None])[:, :, None]
        scale = (1 / area[chosen])[:, None, None]
        wb = dx * (cy[chosen, None, None] * scale) - dy * (cx[chosen, None, None] * scale)
        wc = dy * (bx[chosen, None, None] * scale) - dx * (by[chosen, None, None] * scale)
        inside = (np.minimum(wb, wc) >= -_EDGE) & (wb + wc <= 1 + _EDGE)
        inside &= (x < width)[:, None, :] & (y < height)[:, :, None]
        flat = np.flatnonzero(inside)
        triangle, cell = np.divmod(flat, limit * limit)
        row, column = np.divmod(cell, limit)
        pixels.append(y[triangle, row] * width + x[triangle, column])
        owners.append(chosen[triangle])
        weights_b.append(wb.ravel()[flat])
        weights_c.append(wc.ravel()[flat])

    channels = attributes.shape[1]
    values = np.zeros((height * width, channels), np.float32)
    covered = np.zeros(height * width, bool)
    if pixels:
        pixel = np.concatenate(pixels)
        wb = np.concatenate(weights_b)[:, None]
        wc = np.concatenate(weights_c)[:, None]
        vertex = triangles[np.concatenate(owners)]
        every = np.concatenate([nearness[:, None], attributes], axis=1).astype(np.float32)
        first = every[vertex[:, 0]]
        value = first + wb * (every[vertex[:, 1]] - first) + wc * (every[vertex[:, 2]] - first)
        nearest = np.full(height * width, -np.inf, np.float32)
        np.maximum.at(nearest, pixel, value[:, 0])
        won = value[:, 0] >= nearest[pixel]
        values[pixel[won]] = value[won, 1:]
        covered[pixel[won]] = True
    return Raster(values.reshape(height, width, channels), covered.reshape(height, width))

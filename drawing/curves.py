"""The few curves that heads, hair and paint are made of."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""Of float32 or float64."""

Image = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""


def step(low: float, high: float, value: Array) -> Array:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((np.asarray(value) - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def bell(value: Array, centre: float | Array, width: float) -> Array:
    """1 at ``centre``, fading over about ``width`` to both sides."""
    return np.asarray(np.exp(-(((np.asarray(value) - centre) / width) ** 2)))


def smooth_line(knots: Sequence[tuple[float, float]], at: Array, blur: float) -> Array:
    """Straight lines through ``knots`` (x, y), rounded over about ``blur`` units of x."""
    xs, ys = np.array(knots, np.float32).T
    offsets = np.linspace(-blur, blur, 5)
    return np.asarray(np.mean([np.interp(at + o, xs, ys) for o in offsets], axis=0))

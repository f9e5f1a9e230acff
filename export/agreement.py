"""How well one network's outputs agree with another's, in figures."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

LIMIT = 1e-3
"""Largest difference of an output that a viewer could notice is 1/255; this is a quarter of it."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well one output of a bundle agrees with its model, over all pictures."""

    output: str
    max_abs: float
    """Largest absolute difference; nan where either side gave one."""
    peak: float
    """Largest absolute value that the model gave."""
    psnr_db: float
    """Peak signal to noise ratio against ``peak``, decibels; inf where they are identical."""

    @property
    def good(self) -> bool:
        """Within LIMIT. The avatar's features have no unit: theirs grows with their peak."""
        scale = max(1.0, self.peak) if self.output.startswith("avatar_") else 1.0
        # Written so that nan is not good.
        return self.max_abs <= LIMIT * scale

    @property
    def figures(self) -> str:
        """One line, without a verdict."""
        return f"{self.output:<20} max abs {self.max_abs:.2e}   PSNR {self.psnr_db:6.1f} dB"

    def __str__(self) -> str:
        return self.figures + ("" if self.good else "  OVER THE LIMIT")


def agreement(name: str, pairs: list[tuple[Any, Any]]) -> Agreement:
    """Of an output's arrays (expected, found), one pair a picture."""
    ours = np.concatenate([one.ravel() for one, _ in pairs]).astype(np.float64)
    theirs = np.concatenate([two.ravel() for _, two in pairs]).astype(np.float64)
    difference = np.abs(ours - theirs)
    peak, error = float(np.abs(ours).max()), float(np.mean(difference**2))
    psnr = math.inf if error == 0 else 10 * math.log10((peak or 1.0) ** 2 / error)
    return Agreement(name, float(difference.max()), peak, psnr)

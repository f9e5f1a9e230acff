"""People cut out of their portraits, so that they can move before a background that stands still.

Where hair and background are alike the cut errs; before a new background that is merely another
hairdo.
"""

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime.matte import person_matte
from training.data import Portraits

SMALL = 96
"""Side of a matte, pixels: thousands are made."""


def mattes(portraits: Portraits, keep: Path | None = None) -> NDArray[np.uint8]:
    """One ``matte`` for each portrait, (N, 96, 96); kept in ``keep`` (.npy) and read from there."""
    if keep is not None and keep.exists():
        return np.asarray(np.load(keep), np.uint8)
    found = np.stack(
        [matte(*pair) for pair in zip(portraits.images, portraits.landmarks, strict=True)]
    )
    if keep is not None:
        keep.parent.mkdir(parents=True, exist_ok=True)
        temporary = keep.with_suffix(".tmp.npy")
        np.save(temporary, found)
        os.replace(temporary, keep)
    return found


def matte(image: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The person of a picture (S, S, 3) with landmarks (48, 2) pixels: (96, 96), 255 to 0."""
    small = cv2.resize(image, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
    scale = np.float32(SMALL / image.shape[0])
    return person_matte(np.asarray(small, np.uint8), landmarks * scale)

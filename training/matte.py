"""People cut out of their portraits, so that they can move before a background that stands still.

GrabCut (Rother, Kolmogorov, Blake 2004) from where the landmarks say that face, neck and head are.
It errs where hair and background are alike; before a new background that is merely another
hairdo.
"""

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.landmarks import INDEX
from training.data import Portraits

SMALL = 96
"""Side at which GrabCut works, pixels."""
ROUNDS = 3
_LEAST_HOLE = 0.01
"""Smaller holes are filled, as part of the picture."""


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
    """The person of a picture (S, S, 3) with landmarks (48, 2) pixels: (96, 96), 255 or 0."""
    points = landmarks * (SMALL / image.shape[0])
    small = cv2.resize(image, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
    labels = _first_guess(points)
    cv2.grabCut(
        np.asarray(small, np.uint8),
        labels,
        (0, 0, 0, 0),
        np.zeros((1, 65)),
        np.zeros((1, 65)),
        ROUNDS,
        cv2.GC_INIT_WITH_MASK,
    )
    person = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    # One piece, the one with the nose, without small holes.
    _, pieces = cv2.connectedComponents(person)
    x, y = np.clip(points[INDEX["nose_tip"]], 0, SMALL - 1).astype(int)
    rest = np.asarray(pieces != pieces[y, x], np.uint8)
    count, holes, about, _ = cv2.connectedComponentsWithStats(rest)
    for number in range(1, count):
        if about[number, cv2.CC_STAT_AREA] < _LEAST_HOLE * SMALL**2:
            rest[holes == number] = 0
    return np.asarray(255 * (1 - rest), np.uint8)


def _first_guess(points: NDArray[np.float32]) -> NDArray[np.uint8]:
    labels = np.full((SMALL, SMALL), cv2.GC_PR_BGD, np.uint8)
    right, left = points[INDEX["temple_right"]], points[INDEX["temple_left"]]
    chin, top = points[INDEX["chin"]], points[INDEX["forehead"]]
    width, height = float(np.hypot(*(left - right))), float(np.hypot(*(top - chin)))
    up = (top - chin) / max(height, 1e-3)
    middle = (chin + top) / 2 + up * height * 0.12
    angle = float(np.degrees(np.arctan2(up[0], -up[1])))
    head = ((float(middle[0]), float(middle[1])), (1.75 * width, 1.75 * height), angle)
    cv2.ellipse(labels, head, cv2.GC_PR_FGD, -1)
    for narrow, wide, label in ((0.45, 1.2, cv2.GC_PR_FGD), (0.25, 0.35, cv2.GC_FGD)):
        body = [
            [chin[0] - narrow * width, chin[1]],
            [chin[0] + narrow * width, chin[1]],
            [chin[0] + wide * width, SMALL],
            [chin[0] - wide * width, SMALL],
        ]
        cv2.fillConvexPoly(labels, np.array(body, np.int32), label)
    cv2.fillConvexPoly(labels, cv2.convexHull(points.astype(np.int32)), cv2.GC_FGD)
    rows, columns = np.mgrid[:SMALL, :SMALL]
    beside = (np.abs(columns - (right + left)[0] / 2) > 1.15 * width) & (
        rows < chin[1] - 0.1 * height
    )
    above = rows < max(float(top[1]) - 0.75 * height, 1.5)
    labels[(beside | above) & (labels != cv2.GC_FGD)] = cv2.GC_BGD
    return labels

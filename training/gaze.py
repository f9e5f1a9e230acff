"""Turning the gaze of a still picture: each iris slides in its eye, behind lids that stay."""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.landmarks import indices
from training.expression import IRISES

Points = NDArray[np.float32]

# Along each eye from left to right in the picture: corners, upper and lower lids.
_EYES = (
    (
        indices("right_eye_outer", "right_eye_inner"),
        indices("right_lid_upper_outer", "right_lid_upper", "right_lid_upper_inner"),
        indices("right_lid_lower_outer", "right_lid_lower", "right_lid_lower_inner"),
    ),
    (
        indices("left_eye_inner", "left_eye_outer"),
        indices("left_lid_upper_inner", "left_lid_upper", "left_lid_upper_outer"),
        indices("left_lid_lower_inner", "left_lid_lower", "left_lid_lower_outer"),
    ),
)
IRIS_RADIUS = 0.21
"""In eye widths: 11.7 mm of 28 mm across."""
_EDGE = 0.06
"""Least distance of an iris' rim from the eye's corner, in eye widths."""


def turn_gaze(
    image: NDArray[np.uint8], landmarks: Points, right: float, down: float
) -> tuple[NDArray[np.uint8], Points]:
    """The picture (S, S, 3) and its landmarks (48, 2), pixels, with both irises moved ``right`` and
    ``down`` in the picture, in eye widths, as far as they stay inside the eye.

    The iris moves as a disc; what lies between it and the corners is stretched or squeezed.
    """
    moved = landmarks.copy()
    shift = np.zeros((2, *image.shape[:2]), np.float32)
    for number, (corners, upper, lower) in enumerate(_EYES):
        start, end = landmarks[corners]
        width = max(float(np.hypot(*(end - start))), 1.0)
        across = (end - start) / width
        below = np.array([-across[1], across[0]], np.float32)
        # Only the surroundings of the eye.
        x0, y0 = np.maximum(np.floor((start + end) / 2 - width), 0).astype(int)
        x1, y1 = np.ceil((start + end) / 2 + width).astype(int) + 1
        rows, columns = np.mgrid[y0 : min(y1, image.shape[0]), x0 : min(x1, image.shape[1])]
        x = ((columns - start[0]) * across[0] + (rows - start[1]) * across[1]) / width
        y = ((columns - start[0]) * below[0] + (rows - start[1]) * below[1]) / width

        def lid(points: list[int]) -> NDArray[np.float64]:
            away = landmarks[points] - start  # noqa: B023
            knots = np.concatenate([[0.0], away @ across / width, [1.0]])  # noqa: B023
            values = np.concatenate([[0.0], away @ below / width, [0.0]])  # noqa: B023
            return np.asarray(np.interp(x, knots, values), np.float64)  # noqa: B023

        soft = max(1.0 / width, 0.03)
        inside = np.clip((y - lid(upper)) / soft + 0.5, 0, 1)
        inside *= np.clip((lid(lower) - y) / soft + 0.5, 0, 1)
        inside *= (x > 0) & (x < 1)
        place = float((landmarks[IRISES[number]] - start) @ across) / width
        low, high = IRIS_RADIUS + _EDGE, 1 - IRIS_RADIUS - _EDGE
        new = float(np.clip(place + right, min(low, place), max(high, place)))
        # New place -> old place, by four knots along the eye.
        new_knots = [0.0, max(new - IRIS_RADIUS, 0.01), min(new + IRIS_RADIUS, 0.99), 1.0]
        old_knots = [0.0, max(place - IRIS_RADIUS, 0.01), min(place + IRIS_RADIUS, 0.99), 1.0]
        along = (np.interp(x, new_knots, old_knots) - x) * inside * width
        fall = np.clip(1.5 - np.abs(x - new) / (2 * IRIS_RADIUS), 0, 1)
        away = -down * fall * inside * width
        part = (slice(y0, y0 + len(rows)), slice(x0, x0 + rows.shape[1]))
        shift[0][part] += along * across[0] + away * below[0]
        shift[1][part] += along * across[1] + away * below[1]
        moved[IRISES[number]] += (new - place) * width * across + down * width * below
    rows, columns = np.mgrid[0 : image.shape[0], 0 : image.shape[1]].astype(np.float32)
    edge = cv2.BORDER_REPLICATE
    out = cv2.remap(image, columns + shift[0], rows + shift[1], cv2.INTER_LINEAR, borderMode=edge)
    return np.asarray(out, np.uint8), moved

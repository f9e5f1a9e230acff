"""Shutting the eyes of a still picture: the skin above each eye is drawn down over it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.landmarks import indices
from training.expression import IRISES

Points = NDArray[np.float32]

# Along each eye from left to right in the picture: corner, three lids, corner.
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
_ABOVE, _BELOW = 0.55, 0.3
"""How far skin is stretched, in eye widths from the lids."""
LOWER_SHARE = 0.15
"""Part of the way that the lower lid goes."""


def shut_eyes(
    image: NDArray[np.uint8], landmarks: Points, opening: float
) -> tuple[NDArray[np.uint8], Points]:
    """The picture (S, S, 3) and its landmarks (48, 2), pixels, with lids ``opening`` (0..1) times
    as far apart.

    Only pixels around the eyes move, and only across them: stretched above, squeezed between the
    lids, so that the iris vanishes as it does behind a lid.
    """
    moved = landmarks.copy()
    shift = np.zeros((2, *image.shape[:2]), np.float32)
    for number, (corners, upper, lower) in enumerate(_EYES):
        start, end = landmarks[corners]
        width = max(float(np.hypot(*(end - start))), 1.0)
        across = (end - start) / width
        down = np.array([-across[1], across[0]], np.float32)
        # Only the surroundings of the eye.
        x0, y0 = np.maximum(np.floor((start + end) / 2 - 1.2 * width), 0).astype(int)
        x1, y1 = np.ceil((start + end) / 2 + 1.2 * width).astype(int)
        rows, columns = np.mgrid[y0 : min(y1, len(image)), x0 : min(x1, image.shape[1])]
        x = (columns - start[0]) * across[0] + (rows - start[1]) * across[1]
        y = (columns - start[0]) * down[0] + (rows - start[1]) * down[1]
        ends = [0.0, width]

        def curve(points: list[int]) -> NDArray[np.float32]:
            along = (landmarks[points] - start) @ across  # noqa: B023
            height = (landmarks[points] - start) @ down  # noqa: B023
            knots = np.concatenate([[ends[0]], along, [ends[1]]])  # noqa: B023
            values = np.concatenate([[0.0], height, [0.0]])
            return np.asarray(np.interp(x, knots, values), np.float32)  # noqa: B023

        top, bottom = curve(upper), curve(lower)
        meeting = bottom + LOWER_SHARE * (top - bottom)
        new_top = meeting + (top - meeting) * opening
        new_bottom = meeting + (bottom - meeting) * opening
        # Piecewise linear: new place -> old place, on four knots down the eye.
        high, low = top - _ABOVE * width, bottom + _BELOW * width
        old = y.copy()
        for (new_a, new_b), (old_a, old_b) in (
            ((high, new_top), (high, top)),
            ((new_top, new_bottom), (top, bottom)),
            ((new_bottom, low), (bottom, low)),
        ):
            inside = (y >= new_a) & (y < new_b)
            part = (y - new_a) / np.maximum(new_b - new_a, 1e-3)
            old = np.where(inside, old_a + part * (old_b - old_a), old)
        shift[:, y0 : y0 + len(rows), x0 : x0 + rows.shape[1]] += (old - y) * down[:, None, None]
        for lids in (upper, lower):
            along = (landmarks[lids] - start) @ across
            height = (landmarks[lids] - start) @ down
            meet = (landmarks[lower] - start) @ down
            meet = meet + LOWER_SHARE * ((landmarks[upper] - start) @ down - meet)
            new = meet + (height - meet) * opening
            moved[lids] = start + along[:, None] * across + new[:, None] * down
        iris = IRISES[number]
        middle = (moved[upper] + moved[lower]).mean(0) / 2
        moved[iris] += down * ((middle - landmarks[iris]) @ down) * (1 - opening)
    rows, columns = np.mgrid[0 : image.shape[0], 0 : image.shape[1]].astype(np.float32)
    edge = cv2.BORDER_REPLICATE
    out = cv2.remap(image, columns + shift[0], rows + shift[1], cv2.INTER_LINEAR, borderMode=edge)
    return np.asarray(out, np.uint8), moved

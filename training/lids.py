"""Shutting the eyes of a still picture, or opening them wide: the skin above each eye is drawn
down over it, or up."""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.landmarks import indices
from training.expression import IRISES
from training.opening import Opening, taken_from

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
EDGE = 0.08
"""How far beyond its landmarks an eye may still be seen, in its widths: none of it is left when it
is shut."""
LASHES = 0.45, 0.03
"""The line of lashes where shut lids meet: how much darker, and how thick in eye widths."""


def shut_eyes(
    image: NDArray[np.uint8], landmarks: Points, opening: float
) -> tuple[NDArray[np.uint8], Points]:
    """The picture (S, S, 3) and its landmarks (48, 2), pixels, with lids ``opening`` times as far
    apart: 0 is shut, 1.5 as wide as eyes open.

    Only pixels around the eyes move, and only across them: stretched above, squeezed between the
    lids, so that the iris vanishes as it does behind a lid. Where shut lids meet, lashes are
    drawn.
    """
    moved = landmarks.copy()
    shift = np.zeros((2, *image.shape[:2]), np.float32)
    light = np.ones((*image.shape[:2], 1), np.float32)
    closed = max(0.0, 1 - opening) ** 2
    for number, (corners, upper, lower) in enumerate(_EYES):
        eye = Opening.between(landmarks[corners])
        width = eye.width
        # Only the surroundings of the eye.
        middle = landmarks[corners].mean(0)
        x0, y0 = np.maximum(np.floor(middle - 1.2 * width), 0).astype(int)
        x1, y1 = np.ceil(middle + 1.2 * width).astype(int)
        rows, columns = np.mgrid[y0 : min(y1, len(image)), x0 : min(x1, image.shape[1])]
        x, y = eye.places(columns, rows)
        top, bottom = (eye.edge(landmarks[lids], x) for lids in (upper, lower))
        meeting = bottom + LOWER_SHARE * (top - bottom)
        new_top = meeting + (top - meeting) * opening
        new_bottom = meeting + (bottom - meeting) * opening
        high, low = top - _ABOVE * width, bottom + _BELOW * width
        within = closed * np.clip(2.5 - 2.5 * np.square(2 * x / width - 1), 0, 1)
        beyond = EDGE * width * within
        old = taken_from(
            y, (high, new_top, new_bottom, low), (high, top - beyond, bottom + beyond, low)
        )
        here = slice(y0, y0 + len(rows)), slice(x0, x0 + rows.shape[1])
        shift[:, *here] += (old - y) * eye.down[:, None, None]
        darker, thick = LASHES
        line = np.exp(-0.5 * np.square((y - meeting) / (thick * width)))
        light[here] -= (darker * within * line)[..., None]
        meet = (landmarks[lower] - eye.start) @ eye.down
        meet = meet + LOWER_SHARE * ((landmarks[upper] - eye.start) @ eye.down - meet)
        for lids in (upper, lower):
            away = (landmarks[lids] - eye.start) @ eye.down - meet
            moved[lids] -= (1 - opening) * away[:, None] * eye.down
        iris = IRISES[number]
        middle = (moved[upper] + moved[lower]).mean(0) / 2
        moved[iris] += eye.down * ((middle - landmarks[iris]) @ eye.down) * (1 - opening)
    rows, columns = np.mgrid[0 : image.shape[0], 0 : image.shape[1]].astype(np.float32)
    edge = cv2.BORDER_REPLICATE
    out = cv2.remap(image, columns + shift[0], rows + shift[1], cv2.INTER_LINEAR, borderMode=edge)
    return np.asarray(out * light, np.uint8), moved

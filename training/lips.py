"""Shutting the mouth of a still picture: the lower lip is drawn up to the upper one."""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.landmarks import INDEX, indices
from training.expression import INNER_LOWER, INNER_UPPER
from training.opening import Opening, taken_from

Points = NDArray[np.float32]

_CORNERS = indices("mouth_right", "mouth_left")
_BELOW = indices("lip_lower_right", "lip_lower", "lip_lower_left")
MARGIN = 0.05
"""How much of each lip vanishes along with the inside, in widths of the mouth: landmarks stand on
the edge of the teeth now and then, and none of them may be left to see."""
SHADE = 0.4
"""Part of the light that is lost where shut lips meet."""


def shut_mouth(
    image: NDArray[np.uint8], landmarks: Points, opening: float
) -> tuple[NDArray[np.uint8], Points]:
    """The picture (S, S, 3) and its landmarks (48, 2), pixels, with lips ``opening`` (0..1) times
    as far apart.

    Teeth vanish as they do behind a lip; the skin below is stretched. The chin stays: a jaw is
    moved with the whole face.
    """
    shut = 1 - opening
    mouth = Opening.between(landmarks[_CORNERS])
    width = mouth.width
    rows, columns = np.mgrid[0 : image.shape[0], 0 : image.shape[1]].astype(np.float32)
    x, y = mouth.places(columns, rows)
    top, bottom = (mouth.edge(landmarks[lip], x) for lip in (INNER_UPPER, INNER_LOWER))
    gap = np.maximum(bottom - top, 0) * shut
    margin = np.minimum(MARGIN * width * shut, gap)  # none at the corners
    lip = np.maximum(mouth.edge(landmarks[_BELOW], x), bottom + 0.05 * width)
    chin = float((landmarks[INDEX["chin"]] - mouth.start) @ mouth.down)
    end = np.full_like(x, max(chin, float(lip.max()) + 0.1 * width))
    old = taken_from(
        y,
        (top - 4 * margin, top, bottom - gap, lip - gap, end),
        (top - 4 * margin, top - margin, bottom + margin, lip, end),
    )
    from_x, from_y = columns + (old - y) * mouth.down[0], rows + (old - y) * mouth.down[1]
    out = cv2.remap(image, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    line = np.exp(-0.5 * np.square((y - top) / max(0.02 * width, 0.7)))
    dark = SHADE * shut * np.clip(gap / (0.08 * width), 0, 1) * line
    moved = landmarks.copy()
    between = np.maximum((landmarks[INNER_LOWER] - landmarks[INNER_UPPER]) @ mouth.down, 0) * shut
    for lower in (INNER_LOWER, _BELOW):
        moved[lower] -= between[:, None] * mouth.down
    return np.asarray(out * (1 - dark[..., None]), np.uint8), moved

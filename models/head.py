"""The mean head as a solid: where its landmarks are, and which of them are fixed to the skull.

Coordinates: x right, y down, z away from the camera, in widths of a face, from the middle of the
landmarks.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.landmarks import INDEX, MIRROR, NAMES

Array = NDArray[np.float64]

# The right half and the middle: x, y, forward in face widths, rounded; MediaPipe's canonical face
# (Apache-2.0).
_HALF = {
    "right_eye_outer": (-0.290, -0.130, 0.366),
    "right_eye_inner": (-0.121, -0.125, 0.404),
    "right_lid_upper_outer": (-0.239, -0.147, 0.402),
    "right_lid_upper": (-0.207, -0.149, 0.412),
    "right_lid_upper_inner": (-0.178, -0.149, 0.412),
    "right_lid_lower_outer": (-0.239, -0.110, 0.396),
    "right_lid_lower": (-0.207, -0.106, 0.405),
    "right_lid_lower_inner": (-0.178, -0.107, 0.405),
    "right_iris": (-0.206, -0.127, 0.397),
    "right_brow_outer": (-0.373, -0.234, 0.344),
    "right_brow": (-0.260, -0.289, 0.450),
    "right_brow_inner": (-0.091, -0.283, 0.506),
    "nose_tip": (0.0, 0.117, 0.647),
    "nose_bridge": (0.0, -0.117, 0.537),
    "right_nostril": (-0.092, 0.156, 0.501),
    "mouth_right": (-0.160, 0.327, 0.438),
    "lip_upper": (0.0, 0.266, 0.549),
    "lip_lower": (0.0, 0.394, 0.520),
    "lip_upper_right": (-0.093, 0.272, 0.517),
    "lip_lower_right": (-0.086, 0.377, 0.498),
    "inner_lip_upper": (0.0, 0.305, 0.499),
    "inner_lip_lower": (0.0, 0.340, 0.512),
    "inner_lip_upper_right": (-0.035, 0.304, 0.494),
    "inner_lip_lower_right": (-0.038, 0.339, 0.507),
    "chin": (0.0, 0.657, 0.437),
    "jaw_right": (-0.388, 0.450, 0.118),
    "temple_right": (-0.500, 0.0, 0.0),
    "forehead": (0.0, -0.495, 0.451),
}


def _mean_shape() -> Array:
    shape = np.empty((len(NAMES), 3))
    for name, (x, y, forward) in _HALF.items():
        shape[INDEX[name]] = x, y, -forward
        shape[MIRROR[INDEX[name]]] = -x, y, -forward
    return np.asarray(shape - shape.mean(0))


# What lips, lids, brows and jaw do is expression.
_STEADY = {"lip": 0.0, "mouth": 0.0, "chin": 0.0, "lid": 0.0, "iris": 0.0, "brow": 0.0}
_STEADY |= {"jaw": 0.2, "forehead": 0.5, "temple": 0.7, "eye": 1.0, "nos": 1.0}


MEAN_SHAPE = _mean_shape()
"""(48, 3)"""
STEADINESS = np.array([next(w for part, w in _STEADY.items() if part in n) for n in NAMES])
"""(48,): how well a landmark tells where the skull is."""
STEADY = np.flatnonzero(STEADINESS)
"""Which of them tell anything."""


def around_face(landmarks: NDArray[Any]) -> NDArray[Any]:
    """Nine points on hair and ears, an ellipse from one side over the top to the other, of
    landmarks (48, n): (9, n)."""
    right, left, top, chin = (
        landmarks[INDEX[name]] for name in ("temple_right", "temple_left", "forehead", "chin")
    )
    across, up = (left - right) / 2, (top - chin) / 2
    angles = np.linspace(-0.1, np.pi + 0.1, 9)[:, None]
    middle = (right + left + top + chin) / 4
    return np.asarray(middle + 1.3 * np.cos(angles) * across + 1.6 * np.sin(angles) * up)


def _hair() -> Array:
    around = around_face(MEAN_SHAPE)
    around[:, 2] = MEAN_SHAPE[[INDEX["temple_right"], INDEX["forehead"]], 2].mean()
    return around


def _seen_from_landmarks() -> Array:
    """(4, 48): the affine map, rows x, y, z and 1, that best takes the mean head to landmarks."""
    rows = np.column_stack([MEAN_SHAPE, np.ones(len(MEAN_SHAPE))])
    weighted = rows * STEADINESS[:, None]
    return np.linalg.solve(weighted.T @ rows, weighted.T)


HAIR = _hair()
"""(9, 3): around the face, half-way back from forehead to temples."""
SEEN = _seen_from_landmarks()
"""(4, 48), times landmarks (48, 2): where x, y, z and 0 of the head go in the picture (parallel
projection, so that it is linear)."""


def hair_plane(landmarks: NDArray[np.floating[Any]]) -> tuple[Array, Array]:
    """The plane through the hair, seen in a picture with landmarks (48, 2): where steps along x and
    y of the head lead, (2, 2), and where it begins, (2,). As ``models.hair`` has it for torch."""
    seen = SEEN @ landmarks
    return seen[:2].T, seen[3] + HAIR[0, 2] * seen[2]

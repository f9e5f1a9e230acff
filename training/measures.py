"""How well a face follows another and how a picture looks, as numbers. Pure formulas, no networks.

A mesh is (478, 3) float32: the points of the MediaPipe face mesh, x right and y down in pixels, z
away from the camera on the same scale; not a number where no face was found. (T, 478, 3) is a film
of them. Pictures are (S, S, 3) uint8 RGB.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models.landmarks import NAMES
from realtime.frame import Image

Mesh = NDArray[np.float32]
Floats = NDArray[np.float64]

LANDMARKS_68: tuple[int, ...] = (
    *(127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356),  # jaw
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
    *(168, 197, 5, 4, 98, 97, 2, 326, 327),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
)
"""Mesh points that stand where the 68 landmarks of the iBUG 300-W scheme do, in its order."""

MOVEMENTS = (*("mouth", "smile", "right_eye", "left_eye", "brows", "gaze", "yaw", "pitch", "roll"),)
"""What a face does, in the order of the columns of ``movements``."""

GRAIN_PX = 1.5
"""Standard deviation of the blur that takes a picture's detail away, pixels."""
INNER_FACE = 0.9
"""Detail is looked for in the face's outline shrunk to this: the outline itself is an edge."""
HEAD = (1.5, 1.7)
"""The head with its hair against the box of the mesh: width, height."""

# Points of the skull that neither mouth nor lids nor brows move.
_RIGID = [10, 109, 338, 67, 297, 103, 332, 168, 6, 197, 195, 5, 4, 1, 98, 327]
_RIGID += [33, 133, 362, 263, 127, 356, 234, 454, 93, 323]

_EYE_LINE = [NAMES["right_eye_outer"], NAMES["left_eye_outer"]]
_LIPS = ([13, 82, 312], [14, 87, 317])  # upper, lower, inside
_MOUTH = [NAMES["mouth_right"], NAMES["mouth_left"]]
# From left to right in the picture: corners, upper lid, lower lid, iris, brow.
_EYES = (
    ([33, 133], [160, 159, 158], [144, 145, 153], 468, [70, 63, 105, 66, 107]),
    ([362, 263], [385, 386, 387], [380, 374, 373], 473, [336, 296, 334, 293, 300]),
)


class Follows(NamedTuple):
    """How a result follows its driver in one movement."""

    correlation: float
    """Pearson's, over time: 1 when it moves at the same moments."""
    gain: float
    """Slope of the result over the driver: 1 when it moves as far."""


def landmark_distance(one: Mesh, other: Mesh) -> Floats:
    """Mean distance of the 68 landmarks, (..., 478, 3) twice -> (...), pixels; z does not count."""
    chosen = list(LANDMARKS_68)
    difference = one[..., chosen, :2].astype(np.float64) - other[..., chosen, :2]
    return np.asarray(np.linalg.norm(difference, axis=-1).mean(-1), np.float64)


def movements(film: Mesh, reference: Mesh) -> Floats:
    """(T, 478, 3) -> (T, 9), in the order of ``MOVEMENTS``; rows without a face not a number.

    Each mesh is first turned back and scaled to where the head of ``reference`` (478, 3) stands, so
    that a turned head does not count as a narrow smile. mouth: gap between the inner lips; smile:
    distance of the mouth's corners; brows: mean height over the corners of their eye; all in
    distances of the outer eye corners. right_eye, left_eye: gap between the lids; gaze: mean place
    of the irises to the right of the middle of the eye's corners; in widths of the eye. yaw, pitch,
    roll: turn of the head since the reference, degrees. Signs as in ``drawing.moment.Moment``.
    """
    found = np.isfinite(film).all((1, 2))
    values = np.full((len(film), len(MOVEMENTS)), np.nan)
    if found.any():
        values[found] = _movements(film[found].astype(np.float64), reference.astype(np.float64))
    return values


def _movements(film: Floats, reference: Floats) -> Floats:
    turns, points = _turned_back(film, reference)
    across = reference[_EYE_LINE[1], :2] - reference[_EYE_LINE[0], :2]
    between = np.linalg.norm(across)
    across = across / between
    down = np.array([-across[1], across[0]])
    upper, lower = _LIPS
    mouth = ((points[:, lower] - points[:, upper]) @ down).mean(1) / between
    smile = (points[:, _MOUTH[1]] - points[:, _MOUTH[0]]) @ across / between
    openings, gazes, brows = [], [], []
    for corners, upper, lower, iris, brow in _EYES:
        width = np.linalg.norm(reference[corners[1], :2] - reference[corners[0], :2])
        middle = points[:, corners].mean(1)
        openings.append(((points[:, lower] - points[:, upper]) @ down).mean(1) / width)
        gazes.append((points[:, iris] - middle) @ across / width)
        brows.append((middle - points[:, brow].mean(1)) @ down / between)
    columns = [mouth, smile, *openings, np.mean(brows, 0), np.mean(gazes, 0), *turns.T]
    return np.stack(columns, 1)


def _turned_back(film: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """Yaw, pitch, roll (T, 3) degrees since the reference; the film (T, 478, 2) without them.

    The best rotation and scale between the rigid points (Umeyama 1991).
    """
    fixed = reference[_RIGID] - reference[_RIGID].mean(0)
    centres = film[:, _RIGID].mean(1, keepdims=True)
    moved = film[:, _RIGID] - centres
    u, stretch, v = np.linalg.svd(np.einsum("tki,kj->tij", moved, fixed))
    mirrored = np.sign(np.linalg.det(u @ v))
    stretch[:, 2] *= mirrored
    u[:, :, 2] *= mirrored[:, None]
    rotation = u @ v  # moved = scale * rotation @ fixed
    scale = stretch.sum(1) / np.square(fixed).sum()
    # rotation = R_y(-yaw) R_x(-pitch) R_z(roll), with y down and z away.
    yaw = -np.arctan2(rotation[:, 0, 2], rotation[:, 2, 2])
    pitch = np.arcsin(np.clip(rotation[:, 1, 2], -1, 1))
    roll = np.arctan2(rotation[:, 1, 0], rotation[:, 1, 1])
    back = (film - centres) @ rotation / scale[:, None, None]
    return np.degrees(np.stack([yaw, pitch, roll], 1)), back[..., :2]


def follow(driver: Floats, result: Floats) -> Follows:
    """Both (T,); moments where either is not a number are left out.

    Not a number where fewer than 3 moments are left, or the driver does not move; the correlation
    too where the result does not move.
    """
    both = np.isfinite(driver) & np.isfinite(result)
    x, y = driver[both], result[both]
    if len(x) < 3:
        return Follows(np.nan, np.nan)
    x, y = x - x.mean(), y - y.mean()
    square, other = float(x @ x), float(y @ y)
    if square < 1e-12:
        return Follows(np.nan, np.nan)
    correlation = float(x @ y) / np.sqrt(square * other) if other > 1e-12 else np.nan
    return Follows(float(correlation), float(x @ y) / square)


def detail(image: Image, mesh: Mesh) -> float:
    """High-frequency energy in the face: root mean square of what a small blur takes away."""
    grey = _grey(image)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), GRAIN_PX)
    return _root_mean_square(fine[face_mask(mesh, image.shape[0])])


def flicker(before: Image, image: Image, after: Image, mesh: Mesh) -> float:
    """Temporal high-frequency energy in the face of three successive pictures of a film.

    Root mean square of the second difference over time; ``mesh`` is that of the one in the middle.
    """
    change = _grey(before) - 2 * _grey(image) + _grey(after)
    return _root_mean_square(change[face_mask(mesh, image.shape[0])])


def background_change(image: Image, still: Image, mesh: Mesh, still_mesh: Mesh) -> float:
    """Mean absolute difference of two pictures outside the heads of both, 0..1.

    Not a number where the heads fill the picture.
    """
    size = image.shape[0]
    outside = ~(head_mask(mesh, size) | head_mask(still_mesh, size))
    if not outside.any():
        return float("nan")
    difference = np.abs(image[outside].astype(np.float32) - still[outside])
    return float(difference.mean()) / 255


def mean_difference(one: Image, other: Image) -> float:
    """Mean absolute difference of two pictures, 0..1."""
    return float(np.abs(one.astype(np.float32) - other).mean()) / 255


def face_mask(mesh: Mesh, size: int) -> NDArray[np.bool_]:
    """(size, size): the face inside its outline."""
    hull = cv2.convexHull(np.ascontiguousarray(mesh[:468, :2], np.float32)).reshape(-1, 2)
    middle = hull.mean(0)
    mask = np.zeros((size, size), np.uint8)
    shrunk = np.round((hull - middle) * INNER_FACE + middle).astype(np.int32)
    cv2.fillConvexPoly(mask, shrunk, 1)
    return mask > 0


def head_mask(mesh: Mesh, size: int) -> NDArray[np.bool_]:
    """(size, size): an ellipse around face and hair, from the chin up."""
    low, high = mesh[:468, :2].min(0), mesh[:468, :2].max(0)
    width, height = (high - low) * HEAD
    # More of the hair is over the face than of the neck under it.
    middle = ((low[0] + high[0]) / 2, high[1] + 0.1 * (high[1] - low[1]) - height / 2)
    mask = np.zeros((size, size), np.uint8)
    box: Any = (tuple(map(float, middle)), (float(width), float(height)), 0.0)
    cv2.ellipse(mask, box, 1, cv2.FILLED)
    return mask > 0


def _grey(image: Image) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)


def _root_mean_square(values: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).mean())) if values.size else np.nan

"""The head as a solid that turns: its pose from landmarks, and a face's own shape under a pose.

Landmarks that move as they would on another, turned head are no pose of any head: a face melts. So
what a driver does is told as a pose of the head and, on the face that looks ahead, an expression.

Coordinates: x right, y down, z away from the camera, in widths of a face. It does not know lenses:
the projection is parallel, with a scale (weak perspective).
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models.head import MEAN_SHAPE, STEADINESS, STEADY
from models.keypoints import inverse_2x2

Array = NDArray[np.float64]
Landmarks = NDArray[np.floating[Any]]

STEPS = 3
"""Of Gauss-Newton, after the best affine map."""


class Pose(NamedTuple):
    """Where a head is in a picture."""

    rotation: Array
    """(3, 3), head to camera."""
    scale: float
    """Picture units of a face's width."""
    place: Array
    """(2,): where the middle of the landmarks is."""

    def show(self, shape: Array) -> Array:
        """Points (48, 3) of a head under this pose: (48, 2)."""
        return np.asarray(self.scale * _times(shape, self.rotation[:2]) + self.place)

    def on_face(self, shift: Array) -> Array:
        """Movements (48, 2) in the picture as movements (48, 3) in the plane of the face."""
        plane = self.scale * self.rotation[:2, :2]
        # A face seen from the side hardly tells: there the least that explains it.
        soft = inverse_2x2(_times(plane, plane) + 0.05 * self.scale**2 * np.eye(2))
        flat = _times(_times(shift, soft), plane.T) * 1.05
        return np.column_stack([flat, np.zeros(len(flat))])


class Head:
    """One person's head: the mean face, made to show his landmarks exactly in one pose."""

    def __init__(self, landmarks: Landmarks) -> None:
        """``landmarks``: (48, 2) of a calm face, x right and y down."""
        self.landmarks = landmarks
        mean = MEAN_SHAPE
        self.pose = pose_of(landmarks, mean)
        camera = _times(mean, self.pose.rotation)
        camera[:, :2] = (landmarks - self.pose.place) / self.pose.scale
        self.shape: Array = _times(camera, self.pose.rotation.T)
        """(48, 3)."""


def pose_of(landmarks: Landmarks, shape: Array) -> Pose:
    """The pose under which the steady points of ``shape`` (48, 3) come nearest to (48, 2)."""
    steady = shape[STEADY]
    seen, weight = landmarks[STEADY], STEADINESS[STEADY]
    rotation, scale, place = _affine(seen, steady, weight)
    columns = np.zeros((6, 2, len(steady)))
    columns[4, 0] = columns[5, 1] = 1
    for _ in range(STEPS):
        x, y, z = _times(rotation, steady)
        error = seen.T - (scale * np.stack([x, y]) + place[:, None])
        # By a small turn about x, y and z, by growth, and by a shift.
        columns[0, 1] = -scale * z
        columns[1, 0] = scale * z
        columns[2, 0], columns[2, 1] = -scale * y, scale * x
        columns[3, 0], columns[3, 1] = x, y
        weighted = (columns * weight).reshape(6, -1)
        normal = _times(weighted, columns.reshape(6, -1)) + 1e-9 * np.eye(6)
        step = _solved(normal, _times(weighted, error.reshape(1, -1)))[:, 0]
        rotation = turn(step[:3], rotation)
        scale = max(scale + float(step[3]), 0.2 * scale)
        place = place + step[4:]
    return Pose(rotation, scale, place)


def turn(axis: Array, rotation: Array | None = None) -> Array:
    """The rotation (3, 3) about ``axis`` (3,) by its length, radians; after ``rotation``."""
    turned = np.asarray(cv2.Rodrigues(axis)[0], np.float64)
    return turned if rotation is None else _times(turned, rotation.T)


def turned_by(before: Pose, after: Pose) -> Array:
    """The rotation (3, 3) that takes one pose to another."""
    return _times(after.rotation, before.rotation)


def axis_of(rotation: Array) -> Array:
    """The axis (3,) of a rotation (3, 3), as long as its angle."""
    return np.asarray(cv2.Rodrigues(rotation)[0][:, 0], np.float64)


def _times(one: Landmarks, other: Landmarks) -> Array:
    """one @ other.T. Not by BLAS: a second thread that is in it takes 30 MB, and where these are
    not to be had it ends the program."""
    return np.asarray(np.einsum("ij,kj->ik", one, other), np.float64)


def _solved(matrix: Array, right: Array) -> Array:
    return np.asarray(cv2.solve(matrix, right, flags=cv2.DECOMP_LU)[1], np.float64)


def _affine(landmarks: Landmarks, shape: Array, weight: Array) -> Pose:
    """The nearest pose to the best affine map."""
    rows = np.column_stack([shape, np.ones(len(shape))])
    weighted = rows * weight[:, None]
    # A flat face would leave the depth open.
    normal = _times(weighted.T, rows.T) + 1e-3 * np.eye(4)
    maps = _solved(normal, _times(weighted.T, landmarks.T)).T
    stretch, u, v = cv2.SVDecomp(np.ascontiguousarray(maps[:, :3]))
    rows = _times(np.asarray(u, np.float64), np.asarray(v, np.float64).T)
    rotation = np.vstack([rows, np.cross(rows[0], rows[1])]).astype(np.float64)
    return Pose(rotation, max(float(stretch.mean()), 1e-6), maps[:, 3].astype(np.float64))

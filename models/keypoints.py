"""Keypoints and the relative motion of the First Order Motion Model.

Works on torch tensors (training, research) and on numpy arrays (the live path) alike, and imports
torch only where a tensor comes in: the runtime does not need it.

Paper: Siarohin et al. 2019, "First Order Motion Model for Image Animation", arXiv 2003.00196.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np


class Keypoints(NamedTuple):
    """Positions and local affine frames of K keypoints.

    value: (..., K, 2) float32, x right and y down, -1..1 over the picture (pixel centres of the
    first and last column are -1 and 1). jacobian: (..., K, 2, 2) float32.
    """

    value: Any
    jacobian: Any


def relative_motion(
    avatar: Keypoints, driving: Keypoints, initial: Keypoints, adapt_scale: bool = True
) -> Keypoints:
    """The avatar's keypoints moved as the driver moved since ``initial``.

    All arguments have the same shapes, (..., K, 2) and (..., K, 2, 2), and so has the result.
    value = (driving - initial) * scale + avatar; jacobian = J_driving J_initial^-1 J_avatar, the
    ``normalize_kp`` of the paper's published code. ``scale`` is the square root of the ratio of the
    convex hull areas of avatar and initial keypoints (1 without ``adapt_scale``).
    """
    scale = motion_scale(avatar.value, initial.value) if adapt_scale else 1.0
    value = (driving.value - initial.value) * scale + avatar.value
    jacobian = driving.jacobian @ inverse_2x2(initial.jacobian) @ avatar.jacobian
    return Keypoints(value, jacobian)


def motion_scale(avatar_value: Any, initial_value: Any) -> Any:
    """sqrt(hull area of the avatar's keypoints / hull area of the initial ones).

    (..., K, 2) in; a float for (K, 2), else an array (..., 1, 1) that broadcasts over keypoints.
    """
    ratio = np.sqrt(_hull_area(avatar_value) / np.maximum(_hull_area(initial_value), 1e-12))
    if avatar_value.ndim == 2:
        return float(ratio)
    ratio = ratio[..., None, None].astype(np.float32)
    if isinstance(avatar_value, np.ndarray):
        return ratio
    return avatar_value.new_tensor(ratio)


def inverse_2x2(matrix: Any) -> Any:
    """Closed-form inverse of (..., 2, 2): ``torch.inverse`` has no ONNX export. In few operations,
    which is what small tensors cost a runtime."""
    abcd = matrix.reshape(*matrix.shape[:-2], 4)
    signs = [1.0, -1.0, -1.0, 1.0]
    is_array = isinstance(matrix, np.ndarray)
    sign = np.array(signs, matrix.dtype) if is_array else matrix.new_tensor(signs)
    products = abcd * abcd[..., [3, 2, 1, 0]]
    determinant = products[..., :1] - products[..., 1:2]
    return (abcd[..., [3, 1, 2, 0]] * sign / determinant).reshape(matrix.shape)


def _hull_area(value: Any) -> Any:
    points = value if isinstance(value, np.ndarray) else value.detach().cpu().float().numpy()
    flat = np.ascontiguousarray(points, np.float32).reshape(-1, *points.shape[-2:])
    areas = [cv2.contourArea(cv2.convexHull(one)) for one in flat]
    return np.array(areas, np.float64).reshape(points.shape[:-2])

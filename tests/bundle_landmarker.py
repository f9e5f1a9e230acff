"""The bundle's own landmarks instead of MediaPipe's: lets everything but MediaPipe be tested."""

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from models.landmarks import NAMES
from realtime.engine import Engine


class BundleLandmarker:
    """The bundle's own 48 landmarks as a mesh."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def film(self, images: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return np.array([self._mesh(image) for image in images], np.float32)

    def _mesh(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        small = cv2.resize(image, (self._engine.bundle.keypoint_size,) * 2)
        keypoints, _ = self._engine.keypoints(np.asarray(small, np.uint8))
        points = (keypoints.value + 1) * (image.shape[0] - 1) / 2
        mesh = np.zeros((478, 3), np.float32)
        mesh[:, :2] = points.mean(0)
        mesh[list(NAMES.values()), :2] = points
        return mesh

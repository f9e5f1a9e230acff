"""The optional package face-alignment as landmark network: its 68 points as our 48 landmarks.

Its own weights (about 100 MB for the points) are not part of the package: it downloads them on
first use from its authors' servers into torch's cache. Without network, and before that, use
``tracking.tracker=landmarks``.

What the 68 points do not have is guessed, so this network tells the tracker where the face is and
never drives the avatar itself:

- irises: the middle of the lids
- the middle of each upper and lower lid: between the two lid points that there are
- forehead: over the brows, as far as the canonical face has it
"""

from typing import Any

import numpy as np

from config.errors import EngineError, MissingPackageError
from models.keypoints import Keypoints
from models.landmarks import COUNT, INDEX
from realtime.crop import Points
from realtime.frame import Image

SIZE = 256
"""Side of the pictures that the network takes, pixels."""

FACE_BOX = (0.23, 0.23, 0.77, 0.77, 1.0)
"""Box of the face in a crop of our framing: x and y of two corners in parts of the side; score."""

_SAME = {
    "temple_right": 0,
    "jaw_right": 4,
    "chin": 8,
    "jaw_left": 12,
    "temple_left": 16,
    "right_brow_outer": 17,
    "right_brow": 19,
    "right_brow_inner": 21,
    "left_brow_inner": 22,
    "left_brow": 24,
    "left_brow_outer": 26,
    "nose_bridge": 27,
    "nose_tip": 30,
    "right_nostril": 31,
    "left_nostril": 35,
    "right_eye_outer": 36,
    "right_lid_upper_outer": 37,
    "right_lid_upper_inner": 38,
    "right_eye_inner": 39,
    "right_lid_lower_inner": 40,
    "right_lid_lower_outer": 41,
    "left_eye_inner": 42,
    "left_lid_upper_inner": 43,
    "left_lid_upper_outer": 44,
    "left_eye_outer": 45,
    "left_lid_lower_outer": 46,
    "left_lid_lower_inner": 47,
    "mouth_right": 48,
    "lip_upper_right": 50,
    "lip_upper": 51,
    "lip_upper_left": 52,
    "mouth_left": 54,
    "lip_lower_left": 56,
    "lip_lower": 57,
    "lip_lower_right": 58,
    "inner_lip_upper_right": 61,
    "inner_lip_upper": 62,
    "inner_lip_upper_left": 63,
    "inner_lip_lower_left": 65,
    "inner_lip_lower": 66,
    "inner_lip_lower_right": 67,
}
"""Landmarks that are one of the 68 points."""

_BETWEEN = {
    "right_lid_upper": (37, 38),
    "right_lid_lower": (40, 41),
    "left_lid_upper": (43, 44),
    "left_lid_lower": (46, 47),
    "right_iris": (37, 38, 40, 41),
    "left_iris": (43, 44, 46, 47),
}
"""Landmarks that are guessed as the mean of some of the 68 points."""


class AlignmentNetwork:
    """``realtime.face.LandmarkNetwork`` by face-alignment, on the CPU."""

    def __init__(self) -> None:
        """Raises MissingPackageError without the package, EngineError without its weights."""
        try:
            import face_alignment
        except ImportError as error:
            raise MissingPackageError(
                "tracking.tracker=face-alignment needs the package face-alignment; "
                'in the folder of puppetcam: pip install ".[face-alignment]"; '
                "or use tracking.tracker=landmarks"
            ) from error
        try:
            self._network: Any = face_alignment.FaceAlignment(
                face_alignment.LandmarksType.TWO_D,
                device="cpu",
                flip_input=False,  # a second pass per frame for little
                face_detector="folder",  # the one without weights: boxes come from us
                compile=False,  # minutes at the first start
            )
        except (OSError, RuntimeError) as error:
            raise EngineError(
                f"face-alignment could not load its weights ({str(error).splitlines()[0]}); it "
                "downloads them on first use: connect once, or use tracking.tracker=landmarks"
            ) from error

    def keypoints(self, image: Image) -> tuple[Keypoints, float]:
        """Landmarks of a crop (256, 256, 3) uint8 RGB in -1..1, jacobians all identity, and the
        mean height of the network's heatmaps as confidence, 0..1."""
        size = image.shape[0]
        box = [np.array(FACE_BOX) * [size, size, size, size, 1]]
        points, scores, _ = self._network.get_landmarks_from_image(
            image, detected_faces=box, return_landmark_score=True
        )
        value = from_68(np.asarray(points[0], np.float32)) / np.float32((size - 1) / 2) - 1
        jacobian = np.tile(np.eye(2, dtype=np.float32), (COUNT, 1, 1))
        return Keypoints(value, jacobian), float(np.clip(np.mean(scores[0]), 0, 1))


def from_68(points: Points) -> Points:
    """(68, 2) points of the iBUG order -> (48, 2) landmarks in the same coordinates."""
    landmarks = np.empty((COUNT, 2), np.float32)
    for name, index in _SAME.items():
        landmarks[INDEX[name]] = points[index]
    for name, several in _BETWEEN.items():
        landmarks[INDEX[name]] = points[list(several)].mean(axis=0)
    # On the canonical face the forehead lies as far over the nose bridge as half the way from
    # bridge to chin.
    bridge, chin = points[27], points[8]
    landmarks[INDEX["forehead"]] = bridge - (chin - bridge) * 0.5
    return landmarks

"""MediaPipe FaceMesh behind a pipe: pictures in, landmarks out.

Runs in an environment of its own, see ``training.landmarker``: MediaPipe needs numpy < 2, and
Python 3.9 to 3.12. It imports nothing of this project.

A request is two little-endian 32-bit numbers, height and width, and height * width * 3 bytes RGB.
Its answer is 478 * 3 little-endian 32-bit floats: x, y, and z on the same scale, in pixels with
whole numbers at pixel centres; not numbers where there is no face. Height 0 begins a new film and
is answered by one such block of zeros. The end of the input ends the program.

Its argument is how often each picture is read: as it is, mirrored, turned, and both. The mean of
these errs less (``Landmarker``).
"""

import os
import struct
import sys
from typing import Any

import cv2
import numpy as np

POINTS = 478
READINGS = 4
"""How often a picture can be read, each time in another way."""
TURN_DEG = 6.0
"""How far the third reading is turned; the fourth, mirrored before, as far."""

# The 468 points of the face: those of its middle, and as many on the right as, from 248 on and in
# the same order, on the left. Then each iris: middle, a side, top, the other side, bottom.
_MIDDLE = [0, 1, 2, *range(4, 7), *range(8, 20), 94, 151, 152, 164, 168, 175, 195, 197, 199, 200]
_RIGHT = [point for point in range(248) if point not in _MIDDLE]
_PAIRS = {right: 248 + number for number, right in enumerate(_RIGHT)}
_PAIRS.update({468: 473, 469: 476, 470: 475, 471: 474, 472: 477})
_OTHER_SIDE = {**_PAIRS, **{left: right for right, left in _PAIRS.items()}}
MIRROR = [_OTHER_SIDE.get(point, point) for point in range(POINTS)]
"""The point that stands, in a mirrored picture, where each one does in the picture as it is."""


class Reading:
    """A way to look at the pictures of one size of a film."""

    def __init__(self, number: int, height: int, width: int) -> None:
        """``number`` from 0 to ``READINGS`` - 1."""
        middle = (width - 1) / 2, (height - 1) / 2
        self._mirrors = number % 2 == 1
        self._turns = cv2.getRotationMatrix2D(middle, TURN_DEG if number > 1 else 0, 1.0)
        self._back = cv2.invertAffineTransform(self._turns)
        self._width = width

    def show(self, image: Any) -> Any:
        """(H, W, 3) as this reading sees it."""
        if self._mirrors:
            image = image[:, ::-1]
        if self._turns[0, 1] != 0:
            size = image.shape[1], image.shape[0]
            edge = cv2.BORDER_REPLICATE
            image = cv2.warpAffine(image, self._turns, size, borderMode=edge)
        return np.ascontiguousarray(image)

    def bring_back(self, points: Any) -> Any:
        """(478, 3) of what was shown as points of the picture itself."""
        points = np.array(points, np.float64)
        points[:, :2] = points[:, :2] @ self._back[:, :2].T + self._back[:, 2]
        if self._mirrors:
            points = points[MIRROR]
            points[:, 0] = self._width - 1 - points[:, 0]
        return points


def main(readings: int) -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    # What libraries print must not get between the answers.
    os.dup2(2, 1)
    from mediapipe.python.solutions.face_mesh import FaceMesh

    # As a film: each picture is read where the face was in the one before, which is steadier and
    # more exact than to look for it anew. So each reading has a network of its own.
    networks = [
        FaceMesh(static_image_mode=False, max_num_faces=1, refine_landmarks=True)
        for _ in range(readings)
    ]
    while len(header := sys.stdin.buffer.read(8)) == 8:
        height, width = struct.unpack("<ii", header)
        if height == 0:
            for network in networks:
                network.reset()
            found = np.zeros((POINTS, 3))
        else:
            pixels = sys.stdin.buffer.read(height * width * 3)
            image = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
            found = mean_of(
                [
                    read(network, Reading(number, height, width), image)
                    for number, network in enumerate(networks)
                ]
            )
        answers.write(found.astype("<f4").tobytes())
        answers.flush()


def read(network: Any, reading: Reading, image: Any) -> Any:
    """What the network finds in (H, W, 3) looked at in that way: (478, 3), pixels."""
    shown = reading.show(image)
    return reading.bring_back(landmarks(network.process(shown), *shown.shape[:2]))


def mean_of(readings: Any) -> Any:
    """The mean of those that found a face, each (478, 3)."""
    found = [points for points in readings if np.isfinite(points).all()]
    return np.mean(found, 0) if found else readings[0]


def landmarks(answer: Any, height: int, width: int) -> Any:
    """MediaPipe's answer as (478, 3), pixels."""
    if not answer.multi_face_landmarks:
        return np.full((POINTS, 3), np.nan)
    points = answer.multi_face_landmarks[0].landmark
    # 0..1 goes from edge to edge of the picture; z has the scale of x.
    places = np.array([[point.x, point.y, point.z] for point in points])
    return places * [width, height, width] - [0.5, 0.5, 0.0]


if __name__ == "__main__":
    main(int(sys.argv[1]))

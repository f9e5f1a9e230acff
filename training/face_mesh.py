"""MediaPipe FaceMesh behind a pipe: pictures in, landmarks out.

Runs in an environment of its own, see ``training.landmarker``: MediaPipe needs numpy < 2, and
Python 3.9 to 3.12. It imports nothing of this project.

A request is two little-endian 32-bit numbers, height and width, and height * width * 3 bytes RGB.
Its answer is 478 * 3 little-endian 32-bit floats: x, y, and z on the same scale, in pixels with
whole numbers at pixel centres; not numbers where there is no face. Height 0 begins a new film and
is answered by one such block of zeros. The end of the input ends the program.
"""

import os
import struct
import sys
from typing import Any

import numpy as np

POINTS = 478


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    # What libraries print must not get between the answers.
    os.dup2(2, 1)
    from mediapipe.python.solutions.face_mesh import FaceMesh

    # As a film: each picture is read where the face was in the one before, which is steadier and
    # more exact than to look for it anew.
    network = FaceMesh(static_image_mode=False, max_num_faces=1, refine_landmarks=True)
    while len(header := sys.stdin.buffer.read(8)) == 8:
        height, width = struct.unpack("<ii", header)
        if height == 0:
            network.reset()
            found = np.zeros((POINTS, 3))
        else:
            pixels = sys.stdin.buffer.read(height * width * 3)
            image = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
            found = landmarks(network.process(image), height, width)
        answers.write(found.astype("<f4").tobytes())
        answers.flush()


def landmarks(answer: Any, height: int, width: int) -> Any:
    """MediaPipe's answer as (478, 3), pixels."""
    if not answer.multi_face_landmarks:
        return np.full((POINTS, 3), np.nan)
    points = answer.multi_face_landmarks[0].landmark
    # 0..1 goes from edge to edge of the picture; z has the scale of x.
    places = np.array([[point.x, point.y, point.z] for point in points])
    return places * [width, height, width] - [0.5, 0.5, 0.0]


if __name__ == "__main__":
    main()

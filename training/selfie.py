"""MediaPipe Selfie Segmentation behind a pipe: pictures in, mattes out.

Runs in the environment of ``training.landmarker`` and imports nothing of this project. A request is
as in ``training.face_mesh``, its answer height * width bytes: 255 where the person surely is. It is
asked twice, the second time for the mirrored picture, and answers with the mean.
"""

import os
import struct
import sys

import numpy as np


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    # What libraries print must not get between the answers.
    os.dup2(2, 1)
    from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

    network = SelfieSegmentation(model_selection=0)
    while len(header := sys.stdin.buffer.read(8)) == 8:
        height, width = struct.unpack("<ii", header)
        pixels = sys.stdin.buffer.read(height * width * 3)
        image = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
        mirrored = np.ascontiguousarray(image[:, ::-1])
        found = network.process(image).segmentation_mask
        other = network.process(mirrored).segmentation_mask[:, ::-1]
        answers.write(np.rint((found + other) * 127.5).astype(np.uint8).tobytes())
        answers.flush()


if __name__ == "__main__":
    main()

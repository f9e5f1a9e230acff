"""Small networks that come with puppetcam and need no runtime but OpenCV's."""

import hashlib
from pathlib import Path

import cv2
import numpy as np

from config.errors import BundleError


def open_network(path: Path, name: str) -> cv2.dnn.Net:
    """The network at ``path`` (.onnx), whose SHA-256 lies beside it. ``name``: what it is, for the
    user. Not thread-safe. Raises BundleError for a missing or changed file."""
    try:
        data = path.read_bytes()
        expected = path.with_suffix(".sha256").read_text(encoding="ascii").split()[0]
    except (OSError, ValueError, IndexError) as error:
        raise BundleError(
            f"the shipped {name} {path} cannot be read ({error}); install puppetcam again"
        ) from error
    if hashlib.sha256(data).hexdigest() != expected:
        raise BundleError(f"the shipped {name} {path} was changed; install puppetcam again")
    return cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))

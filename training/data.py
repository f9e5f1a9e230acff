"""Portraits and clips with face landmarks, as training reads them.

A portraits folder holds NAME.jpg pictures and ``landmarks.npz`` (``names`` (N,), ``lm`` (N, 478, 3)
in pixels from the picture's corner: MediaPipe's 0..1 times the side). A clips folder holds one
folder a clip with ``video.mp4`` and ``landmarks.npz`` (``lm_q`` (T, 478, 3) integers, pixels =
``lm_q * scale``; ``valid`` (T,)). Both may hold ``manifest.csv`` with a row a name; its column
``identity`` keeps people together.

Landmarks are MediaPipe face mesh points; only the 48 of ``models.landmarks`` are kept.
"""

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import SettingsError
from models.landmarks import MIRROR, NAMES

SIZE = 256
"""Side of the training pictures, pixels."""
PIXEL_CENTRE = np.array([0.5, 0.5, 0], np.float32)
"""Where the first pixel's centre lies in files of landmarks; everywhere else it is at 0, 0."""
MAX_CLIP_FRAMES = 700
"""Frames kept of a long clip, evenly spaced: one person must not outweigh the others."""

_MESH = list(NAMES.values())


@dataclass(frozen=True, slots=True)
class Portraits:
    """N still faces. images (N, 256, 256, 3) uint8 RGB, landmarks (N, 48, 2) float32 pixels."""

    images: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    depth: NDArray[np.float32]
    """(N, 48) pixels, smaller is nearer to the camera."""

    def select(self, chosen: NDArray[np.bool_]) -> "Portraits":
        """The portraits where ``chosen`` (N,) is true."""
        return Portraits(self.images[chosen], self.landmarks[chosen], self.depth[chosen])


@dataclass(frozen=True, slots=True)
class Clip:
    """One person moving. images (T, 256, 256, 3) uint8 RGB, landmarks (T, 48, 2) float32 pixels."""

    identity: str
    images: NDArray[np.uint8]
    landmarks: NDArray[np.float32]


def load_portraits(folder: Path, limit: int | None = None) -> Portraits:
    """All portraits of a folder; with ``limit``, the first so many. Raises SettingsError."""
    with _open_landmarks(folder / "landmarks.npz") as data:
        names = data["names"][:limit]
        landmarks = data["lm"][:limit, _MESH].astype(np.float32) - PIXEL_CENTRE
    images = np.stack([_read_picture(folder / f"{name}.jpg") for name in names])
    return Portraits(images, landmarks[..., :2].copy(), landmarks[..., 2].copy())


def load_clips(folder: Path, limit: int | None = None) -> list[Clip]:
    """All clips of a folder, frames without a face left out. Raises SettingsError."""
    identities = identities_of(folder)
    paths = sorted(path.parent for path in folder.glob("*/video.mp4"))[:limit]
    if not paths:
        raise SettingsError(f"no clips in {folder}: expected NAME/video.mp4 and NAME/landmarks.npz")
    clips = [_load_clip(path, identities.get(path.name, path.name)) for path in paths]
    return [clip for clip in clips if len(clip.images) >= 2]


def flipped(points: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Landmarks (48, 2), pixels, of the picture flipped left-right, ``size`` pixels wide."""
    return np.asarray(points[list(MIRROR)] * [-1, 1] + [size - 1, 0], np.float32)


def save_arrays(path: Path, **arrays: Any) -> None:
    """Write a .npz file under its name only when it is whole."""
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, **arrays)
    os.replace(temporary, path)


def identities_of(folder: Path) -> dict[str, str]:
    """Who is who: clip name -> identity, from the folder's ``manifest.csv`` where it has one."""
    path = folder / "manifest.csv"
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return {row["name"]: row["identity"] for row in rows if {"name", "identity"} <= row.keys()}


def _load_clip(folder: Path, identity: str) -> Clip:
    import av

    with _open_landmarks(folder / "landmarks.npz") as data:
        landmarks = data["lm_q"][:, _MESH].astype(np.float32) * float(data["scale"])
        landmarks = (landmarks - PIXEL_CENTRE)[..., :2].copy()
        valid = data["valid"].astype(bool)
    # A face that leaves the picture teaches nothing: keep those within a margin of 20 px.
    valid &= (landmarks.min((1, 2)) > -20) & (landmarks.max((1, 2)) < SIZE + 20)
    wanted = np.flatnonzero(valid)
    if len(wanted) > MAX_CLIP_FRAMES:
        wanted = wanted[np.linspace(0, len(wanted) - 1, MAX_CLIP_FRAMES).astype(int)]
    kept = set(wanted.tolist())
    images: list[NDArray[np.uint8]] = []
    taken: list[int] = []
    with av.open(str(folder / "video.mp4")) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in kept:
                images.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
                taken.append(index)
    if not images:
        return Clip(identity, np.empty((0, SIZE, SIZE, 3), np.uint8), landmarks[:0])
    return Clip(identity, np.stack(images), landmarks[taken])


def _read_picture(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path))
    if image is None:
        raise SettingsError(f"cannot read the portrait {path}")
    if image.shape[:2] != (SIZE, SIZE):
        raise SettingsError(f"{path} is {image.shape[1]}x{image.shape[0]}, expected {SIZE}x{SIZE}")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _open_landmarks(path: Path) -> Any:
    try:
        return np.load(path)
    except (OSError, ValueError) as error:
        raise SettingsError(f"cannot read landmarks {path}: {error}") from error

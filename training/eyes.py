"""Training of the reader of eyes, on the same pictures as the landmark detector."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.eyes import HEIGHT, LEFT, REACH, RIGHT, WIDTH, EyeReader
from training.keypoints import Faces, Rng, act, lit, smooth
from training.loop import Schedule, train
from training.weights import load

_LIDS = slice(2, 5), slice(5, 8)
_CORNERS, _IRIS = slice(0, 2), slice(8, 9)
GAP_WEIGHT = 2.0
"""Of the gaps between lids and from the iris to the corners."""
MOTION_WEIGHT = 2.0


def eye(
    image: NDArray[np.uint8], landmarks: NDArray[np.float32], left: bool, rng: Rng
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """One eye of a picture, cut out about as the detector would have it: (32, 48, 3), and its
    landmarks (9, 2) in -1..1 of that."""
    right_eye, left_eye = landmarks[RIGHT[:2]].mean(0), landmarks[LEFT[:2]].mean(0)
    along = (left_eye - right_eye) * REACH * rng.uniform(0.85, 1.15)
    angle = np.deg2rad(rng.normal(0, 5))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    along = turn @ along
    down = np.array([-along[1], along[0]]) * HEIGHT / WIDTH
    along = -along if left else along
    centre = (left_eye if left else right_eye) + rng.normal(0, 0.07, 2) @ np.stack([along, down])
    axes = np.stack([along, down])  # rows, from the centre to the edges
    step = axes.T / np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    corner = centre - axes.sum(0)
    picture = cv2.warpAffine(
        image,
        np.column_stack([step, corner]),
        (WIDTH, HEIGHT),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    points = (landmarks[LEFT if left else RIGHT] - centre) @ np.linalg.inv(axes)
    return np.asarray(picture, np.uint8), points.astype(np.float32)


def recolour(eyes: NDArray[np.uint8], rng: Rng) -> NDArray[np.float32]:
    """Light, colour, sharpness and noise as webcams have them, the same for both eyes of a face.
    (2, 32, 48, 3) uint8 -> (2, 3, 32, 48) float32."""
    x = lit(eyes, rng, 0.5, 0.25)
    if rng.random() < 0.4:
        width = float(rng.uniform(0.3, 1.5))
        x = np.stack([cv2.GaussianBlur(one, (0, 0), width) for one in x])
    if rng.random() < 0.4:
        x = x + rng.normal(0, rng.uniform(0, 0.05), x.shape)
    if rng.random() < 0.3:  # light from one side
        ramp = np.linspace(-1, 1, WIDTH, dtype=np.float32)[None, None, :, None]
        x = x * (1 + ramp * rng.uniform(-0.4, 0.4, (2, 1, 1, 1)))
    return np.asarray(np.clip(x, 0, 1).transpose(0, 3, 1, 2), np.float32)


def batch(faces: Faces, rng: Rng, size: int) -> tuple[Tensor, Tensor]:
    """eyes (2 * size, 3, 32, 48) and their landmarks (2 * size, 9, 2): of a face both, and two and
    two faces are one person's at two moments."""
    pictures, values = [], []
    for chosen in rng.choice(len(faces.images), size // 2, p=faces.weights):
        for number in (int(chosen), int(rng.integers(*faces.people[chosen]))):
            image, landmarks = act(faces, number, rng)
            cut = [eye(image, landmarks, left, rng) for left in (False, True)]
            pictures.append(recolour(np.stack([picture for picture, _ in cut]), rng))
            values.append(np.stack([points for _, points in cut]))
    return torch.from_numpy(np.concatenate(pictures)), torch.from_numpy(np.concatenate(values))


def _gaps(value: Tensor) -> Tensor:
    """Between upper and lower lids, and from the corners to the iris: (N, 9, 2) -> (N, 5, 2)."""
    upper, lower = _LIDS
    return torch.cat([value[:, upper] - value[:, lower], value[:, _IRIS] - value[:, _CORNERS]], 1)


def loss_of(value: Tensor, target: Tensor) -> Tensor:
    """Smooth L1 of places, of gaps, and of what gaps change by between two moments."""
    error = value - target
    gaps = _gaps(error)
    # Rows are right and left eye of one moment, then of another.
    pairs = gaps.reshape(-1, 2, 2, *gaps.shape[1:])
    change = pairs[:, 0] - pairs[:, 1]
    return (
        smooth(error, 0.05).mean()
        + GAP_WEIGHT * smooth(gaps, 0.03).mean()
        + MOTION_WEIGHT * smooth(change, 0.03).mean()
    )


def eye_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Distance of landmarks and of their gaps (N, 9, 2), in -1..1 of an eye's picture."""
    error = found - wanted
    return error.abs().mean() + GAP_WEIGHT * _gaps(error).abs().mean()


def train_eyes(
    faces: Faces,
    run: Path,
    schedule: Schedule,
    start_from: Path | None = None,
    batch_size: int = 48,
) -> EyeReader:
    """As ``training.keypoints.train_detector``."""
    network: EyeReader = EyeReader().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if start_from is not None:
        load(network, start_from, "eyes")

    def step(data: tuple[Tensor, ...], autocast: torch.autocast) -> tuple[Tensor, dict[str, Any]]:
        eyes, target = data
        with autocast:
            value = network(eyes.contiguous(memory_format=torch.channels_last))
        loss = loss_of(value, target)
        with torch.no_grad():
            error = float((value - target).norm(dim=-1).mean())
        return loss, {"loss": float(loss.detach()), "error": error}

    return train(network, lambda rng: batch(faces, rng, batch_size), step, run, schedule)

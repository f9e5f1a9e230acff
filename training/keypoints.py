"""Training of the landmark detector on portraits and clips.

Supervised by landmark pseudo-labels. Besides the positions, the gaps between the lids and between
the lips are losses of their own: a blink is three pixels, which a mean over 48 points forgets.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.compact import LandmarkDetector
from models.landmarks import COUNT, indices
from training.data import SIZE, Clip, Portraits, flipped
from training.expression import blinks
from training.gaze import turn_gaze
from training.lids import shut_eyes
from training.loop import Schedule, train

INPUT = 128
NEGATIVE_SHARE = 0.15
"""Share of crops without a face, for the presence output."""

SHUT_SHARE = 0.25
"""Share of pictures whose eyes are shut by a warp."""
GAZE_SHARE = 0.35
"""Share of the others whose irises are moved by a warp."""
CLOSE_SHARE = 0.7
"""Share of the faces that fill the crop."""
GAP_WEIGHT = 2.0

GAPS = (
    indices("right_lid_upper", "left_lid_upper", "right_lid_upper_outer", "right_lid_upper_inner",
            "left_lid_upper_outer", "left_lid_upper_inner", "inner_lip_upper",
            "inner_lip_upper_right", "inner_lip_upper_left", "mouth_right",
            "right_iris", "left_iris", "right_brow_outer", "right_brow", "right_brow_inner",
            "left_brow_outer", "left_brow", "left_brow_inner"),
    indices("right_lid_lower", "left_lid_lower", "right_lid_lower_outer", "right_lid_lower_inner",
            "left_lid_lower_outer", "left_lid_lower_inner", "inner_lip_lower",
            "inner_lip_lower_right", "inner_lip_lower_left", "mouth_left",
            "right_eye_inner", "left_eye_inner", "right_eye_outer", "right_eye_inner",
            "right_eye_inner", "left_eye_outer", "left_eye_inner", "left_eye_inner"),
)  # fmt: skip
"""Pairs of landmarks whose difference is a loss of its own."""

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Faces:
    """All pictures that the detector learns from, in one list."""

    images: list[NDArray[np.uint8]]
    landmarks: list[NDArray[np.float32]]
    weights: NDArray[np.float64]
    """Probability of each picture."""


def gather(portraits: Portraits, clips: list[Clip], drawn: list[Clip]) -> Faces:
    """Portraits 60 %, clips 28 % (each person the same), drawn faces 12 %, of those given."""
    images: list[NDArray[np.uint8]] = []
    landmarks: list[NDArray[np.float32]] = []
    weights: list[float] = []

    def add(share: float, pictures: NDArray[np.uint8], points: NDArray[np.float32]) -> None:
        images.extend(pictures)
        landmarks.extend(points)
        weights.extend([share / len(pictures)] * len(pictures))

    add(0.50, portraits.images, portraits.landmarks)
    for share, group in ((0.35, clips), (0.15, drawn)):
        frames = Counter[str]()
        for clip in group:
            frames[clip.identity] += len(clip.images)
        for clip in group:
            of_person = len(clip.images) / frames[clip.identity]
            add(share / len(frames) * of_person, clip.images, clip.landmarks)
            shut = blinks(clip.landmarks)
            if len(shut):  # a third of the clip's share: blinks are one frame in twenty
                for index in shut:
                    weights[index - len(clip.images)] *= 1 + 0.5 * len(clip.images) / len(shut)
    total = np.array(weights)
    return Faces(images, landmarks, total / total.sum())


def crop(
    image: NDArray[np.uint8], landmarks: NDArray[np.float32], rng: Rng, present: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One augmented crop (3, 128, 128) float32 0..1 and landmarks (48, 2) in -1..1."""
    if present and rng.random() < SHUT_SHARE:
        image, landmarks = shut_eyes(image, landmarks, rng.uniform(0, 0.5))
    elif present and rng.random() < GAZE_SHARE:
        image, landmarks = turn_gaze(image, landmarks, *rng.normal(0, (0.14, 0.04)))
    centre = (landmarks.min(0) + landmarks.max(0)) / 2
    height = float(np.ptp(landmarks[:, 1])) + 1e-3
    if present:
        # Mostly as the tracker frames it, sometimes as it finds it: face height 0.38 to 0.85 of the
        # crop, off centre by up to 13 %.
        close = rng.random() < CLOSE_SHARE
        scale = rng.uniform(*((0.55, 0.82) if close else (0.38, 0.85))) * INPUT / height
        offset = rng.uniform(-1, 1, 2) * (0.07 if close else 0.13) * INPUT
        angle = rng.normal(0, 14)
    elif rng.random() < 0.5:  # far too close: a patch of skin, hair or background
        scale = rng.uniform(2.2, 5.0) * INPUT / height
        offset = rng.uniform(-1.2, 1.2, 2) * height * scale
        angle = rng.uniform(-180, 180)
    else:  # the face lies outside
        scale = rng.uniform(0.5, 1.5) * INPUT / height
        direction = rng.uniform(0, 2 * np.pi)
        away = height * scale * 0.6 + INPUT * rng.uniform(0.45, 0.7)
        offset = away * np.array([np.cos(direction), np.sin(direction)])
        angle = rng.uniform(-20, 20)
    middle = (float(centre[0]), float(centre[1]))
    matrix = np.array(cv2.getRotationMatrix2D(middle, angle, scale))
    matrix[:, 2] += np.array([INPUT / 2, INPUT / 2]) + offset - centre
    border = cv2.BORDER_REFLECT_101 if present else cv2.BORDER_REPLICATE
    if scale < 0.6:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.35 / scale), np.uint8)
    cut = cv2.warpAffine(image, matrix, (INPUT, INPUT), flags=cv2.INTER_LINEAR, borderMode=border)
    out = np.asarray(cut, np.uint8)
    points = np.asarray(landmarks @ matrix[:, :2].T + matrix[:, 2], np.float32)
    if rng.random() < 0.5:
        out = out[:, ::-1]
        points = flipped(points, INPUT)
    return recolour(out, rng), (points / (INPUT - 1) * 2 - 1).astype(np.float32)


def recolour(picture: NDArray[np.uint8], rng: Rng) -> NDArray[np.float32]:
    """Random light, colour, blur, noise and cover-ups, as a webcam has. HWC uint8 -> CHW float."""
    x = np.ascontiguousarray(picture, np.float32) / 255
    x = (x - 0.5) * rng.uniform(0.55, 1.4) + 0.5 + rng.uniform(-0.22, 0.22)
    x = x * rng.uniform(0.8, 1.2, 3).astype(np.float32)
    if rng.random() < 0.15:
        x = np.repeat(x.mean(-1, keepdims=True), 3, -1)
    if rng.random() < 0.3:
        x = np.asarray(cv2.GaussianBlur(x, (0, 0), rng.uniform(0.3, 1.6)), np.float32)
    if rng.random() < 0.3:
        x = x + rng.normal(0, rng.uniform(0, 0.07), x.shape)
    if rng.random() < 0.15:  # a hand, a cup, a microphone
        h, w = rng.integers(8, 40, 2)
        y0, x0 = rng.integers(0, INPUT - h), rng.integers(0, INPUT - w)
        x[y0 : y0 + h, x0 : x0 + w] = rng.random(3)
    if rng.random() < 0.2:  # light from one side
        ramp = np.linspace(-1, 1, INPUT, dtype=np.float32) * rng.uniform(-0.35, 0.35)
        x = x * (1 + (ramp[None, :, None] if rng.random() < 0.5 else ramp[:, None, None]))
    return np.clip(x, 0, 1).astype(np.float32).transpose(2, 0, 1)


def noise_picture(rng: Rng) -> NDArray[np.uint8]:
    """A picture with nothing in it: flat, gradient, blobs or noise."""
    small = rng.integers(2, 24)
    seeds = rng.uniform(0, 255, (small, small, 3)).astype(np.float32)
    x = np.asarray(cv2.resize(seeds, (INPUT, INPUT), interpolation=cv2.INTER_CUBIC), np.float32)
    return np.asarray(np.clip(x * rng.uniform(0, 1) + rng.uniform(0, 128), 0, 255), np.uint8)


def batch(faces: Faces, rng: Rng, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """images (B, 3, 128, 128), value (B, 48, 2), present (B,) of 0 and 1."""
    pictures, values, flags = [], [], []
    for chosen in rng.choice(len(faces.images), size, p=faces.weights):
        present = bool(rng.random() > NEGATIVE_SHARE)
        if not present and rng.random() < 0.25:
            picture = recolour(noise_picture(rng), rng)
            value = np.zeros((COUNT, 2), np.float32)
        else:
            picture, value = crop(faces.images[chosen], faces.landmarks[chosen], rng, present)
        pictures.append(picture)
        values.append(value)
        flags.append(float(present))
    return (
        torch.from_numpy(np.stack(pictures)),
        torch.from_numpy(np.stack(values)),
        torch.tensor(flags),
    )


def loss_of(value: Tensor, presence: Tensor, target: Tensor, present: Tensor) -> Tensor:
    """Smooth L1 on positions and gaps of present faces, and cross-entropy on presence."""
    upper, lower = GAPS
    positions = F.smooth_l1_loss(value, target, beta=0.02, reduction="none").sum(-1)
    gaps = F.smooth_l1_loss(
        value[:, upper] - value[:, lower],
        target[:, upper] - target[:, lower],
        beta=0.01,
        reduction="none",
    ).sum(-1)
    inside = (target.abs() < 1.05).all(-1).float() * present[:, None]
    count = present.sum().clamp(min=1)
    fine = (positions * inside).mean(1).sum() / count + GAP_WEIGHT * (
        gaps.mean(1) * present
    ).sum() / count
    return fine + 0.05 * F.binary_cross_entropy_with_logits(presence, present)


def train_detector(
    faces: Faces,
    run: Path,
    schedule: Schedule,
    start_from: Path | None = None,
    batch_size: int = 32,
) -> LandmarkDetector:
    """Train into ``run`` (resumes there), optionally starting from another detector's weights."""
    network: LandmarkDetector = LandmarkDetector().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if start_from is not None:
        network.load_state_dict(torch.load(start_from, weights_only=True))

    def step(data: tuple[Tensor, ...], autocast: torch.autocast) -> tuple[Tensor, dict[str, float]]:
        image, target, present = data
        with autocast:
            value, presence = network(image.contiguous(memory_format=torch.channels_last))
        loss = loss_of(value.float(), presence.float(), target, present)
        with torch.no_grad():
            kept = present > 0.5
            error = (value[kept].float() - target[kept]).norm(dim=-1).mean() * SIZE / 2
            right = ((presence > 0) == kept).float().mean()
        return loss, {"error_px256": float(error), "presence": float(right)}

    return train(network, lambda rng: batch(faces, rng, batch_size), step, run, schedule)


def evaluate_detector(network: LandmarkDetector, portraits: Portraits) -> dict[str, float]:
    """Mean landmark error in pixels at 256, over plain crops of ``portraits``."""
    network.eval()
    errors, gap_errors = [], []
    upper, lower = GAPS
    with torch.no_grad():
        for image, points in zip(portraits.images, portraits.landmarks, strict=True):
            small = cv2.resize(image, (INPUT, INPUT), interpolation=cv2.INTER_AREA)
            x = torch.from_numpy(small.astype(np.float32) / 255).permute(2, 0, 1)[None]
            value = network(x)[0][0].numpy()
            found = (value * (INPUT - 1) / 2 + INPUT / 2) * (SIZE / INPUT) - 0.5
            errors.append(np.linalg.norm(found - points, axis=-1))
            gap = (found[upper] - found[lower]) - (points[upper] - points[lower])
            gap_errors.append(np.linalg.norm(gap, axis=-1))
    mean = np.mean(errors, 0)
    return {
        "error": float(mean.mean()),
        "lids": float(mean[2:8].mean() + mean[10:16].mean()) / 2,
        "lips": float(mean[28:42].mean()),
        "gaps": float(np.mean(gap_errors)),
    }

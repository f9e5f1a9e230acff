"""Training of the face finder: people from portraits and clips, put anywhere into pictures.

Scenes have 160 x 128 pixels, so a face of 40 pixels in a 640 pixel wide video has 10. They are as
dark, noisy and tilted as webcams' are, with none to three faces, some of them cut by the edge.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.finder import STRIDE, UNIT_PX, FaceFinder
from training.data import Clip, Portraits
from training.loop import Schedule, train

WIDTH, HEIGHT = 160, 128
LEAST_PX, MOST_PX = 8.0, 100.0
"""Height of a face in a scene."""
CUT_OUT_SHARE = 0.6
"""Share of portraits pasted without their own background."""

Rng = np.random.Generator
Picture = NDArray[np.uint8]
Points = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class People:
    """Whom scenes are made of."""

    portraits: Portraits
    mattes: NDArray[np.uint8]
    clips: list[Clip]


def scene(people: People, rng: Rng) -> tuple[NDArray[np.float32], list[tuple[float, float, float]]]:
    """A picture (3, 128, 160) float32 RGB 0..1 and its faces: x, y of the middle and height of the
    landmarks' box, pixels."""
    canvas = _backdrop(people, rng)
    faces: list[tuple[float, float, float]] = []
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.12, 0.58, 0.2, 0.1]))):
        image, points, alpha = _person(people, rng)
        height = float(np.exp(rng.uniform(np.log(LEAST_PX), np.log(MOST_PX))))
        place = rng.uniform((0.02, 0.02), (0.98, 0.98)) * (WIDTH, HEIGHT)
        if any(np.hypot(place[0] - x, place[1] - y) < 0.7 * (height + h) for x, y, h in faces):
            continue
        box = (points.min(0) + points.max(0)) / 2
        scale = height / max(float(np.ptp(points[:, 1])), 1.0)
        angle = float(rng.normal(0, 14))
        matrix = np.array(cv2.getRotationMatrix2D((float(box[0]), float(box[1])), angle, scale))
        matrix[:, 2] += place - box
        if scale < 0.5:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.4 / scale), np.uint8)
        size = (WIDTH, HEIGHT)
        pasted = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR)
        over = cv2.warpAffine(alpha, matrix, size, flags=cv2.INTER_LINEAR)[..., None]
        canvas = canvas * (1 - over) + pasted * over
        moved = points @ matrix[:, :2].T + matrix[:, 2]
        low, high = moved.min(0), moved.max(0)
        middle, tall = (low + high) / 2, float(high[1] - low[1])
        if 0 <= middle[0] < WIDTH and 0 <= middle[1] < HEIGHT:
            faces.append((float(middle[0]), float(middle[1]), tall))
    return _as_webcam(canvas / 255, rng), faces


def _person(people: People, rng: Rng) -> tuple[Picture, Points, NDArray[np.float32]]:
    """Somebody's picture, landmarks and how much each pixel covers, 0..1; maybe mirrored."""
    if rng.random() < 0.6:
        chosen = int(rng.integers(len(people.portraits.images)))
        image, points = people.portraits.images[chosen], people.portraits.landmarks[chosen]
        alpha = np.ones(image.shape[:2], np.float32)
        if rng.random() < CUT_OUT_SHARE:
            side = image.shape[0]
            alpha = np.asarray(
                cv2.resize(people.mattes[chosen], (side, side)).astype(np.float32) / 255, np.float32
            )
    else:
        clip = people.clips[int(rng.integers(len(people.clips)))]
        chosen = int(rng.integers(len(clip.images)))
        image, points = clip.images[chosen], clip.landmarks[chosen]
        alpha = np.ones(image.shape[:2], np.float32)
    if rng.random() < 0.5:
        mirrored = points * np.array([-1, 1], np.float32)
        points = mirrored + np.array([image.shape[1] - 1, 0], np.float32)
        image, alpha = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(alpha[:, ::-1])
    return image, points, alpha


def _backdrop(people: People, rng: Rng) -> NDArray[np.float32]:
    """Walls, things, clothes: corners and lower ends of portraits, enlarged, noise and shapes."""
    canvas = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    canvas[:] = rng.uniform(0, 255, 3)
    for _ in range(int(rng.integers(1, 6))):
        image = people.portraits.images[int(rng.integers(len(people.portraits.images)))]
        side = int(rng.integers(24, 60))
        # The upper corners and the bottom edge: no face reaches there.
        y = 0 if rng.random() < 0.6 else image.shape[0] - side // 2
        x = int(rng.choice([0, image.shape[1] - side]))
        part = image[y : y + side, x : x + side]
        w, h = int(rng.integers(30, WIDTH + 1)), int(rng.integers(30, HEIGHT + 1))
        x0, y0 = int(rng.integers(0, WIDTH - w + 1)), int(rng.integers(0, HEIGHT - h + 1))
        canvas[y0 : y0 + h, x0 : x0 + w] = cv2.resize(part, (w, h))
    for _ in range(int(rng.integers(0, 6))):
        colour = tuple(float(c) for c in rng.uniform(0, 255, 3))
        one, two = rng.integers(-20, WIDTH + 20, (2, 2))
        if rng.random() < 0.5:
            cv2.ellipse(
                canvas, one.tolist(), np.abs(two // 3 + 1).tolist(), float(rng.uniform(0, 180)),
                0, 360, colour, -1,
            )  # fmt: skip
        else:
            cv2.line(canvas, one.tolist(), two.tolist(), colour, int(rng.integers(1, 9)))
    if rng.random() < 0.5:
        canvas = np.asarray(cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.5, 3)), np.float32)
    return canvas


def _as_webcam(picture: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    """Light, colour, blur and noise. (H, W, 3) 0..1 -> (3, H, W)."""
    x = picture * rng.uniform(0.8, 1.2, 3).astype(np.float32)
    if rng.random() < 0.25:  # a dim room
        x = x * rng.uniform(0.12, 0.5)
    else:
        x = (x - 0.5) * rng.uniform(0.6, 1.3) + 0.5 + rng.uniform(-0.2, 0.2)
    if rng.random() < 0.15:
        x = np.repeat(x.mean(-1, keepdims=True), 3, -1)
    if rng.random() < 0.3:
        x = np.asarray(cv2.GaussianBlur(x, (0, 0), rng.uniform(0.3, 1.0)), np.float32)
    if rng.random() < 0.4:
        x = x + rng.normal(0, rng.uniform(0, 0.05), x.shape)
    return np.clip(x, 0, 1).astype(np.float32).transpose(2, 0, 1)


def target(faces: list[tuple[float, float, float]]) -> tuple[NDArray[np.float32], ...]:
    """heat (1, 32, 40) with a bell at each face, shape (3, 32, 40) and where it counts."""
    rows, columns = HEIGHT // STRIDE, WIDTH // STRIDE
    heat = np.zeros((1, rows, columns), np.float32)
    shape = np.zeros((3, rows, columns), np.float32)
    counts = np.zeros((1, rows, columns), np.float32)
    v, u = np.mgrid[:rows, :columns]
    for x, y, height in faces:
        # Cell centres: pixel (x + 0.5) / stride - 0.5.
        cx, cy = (x + 0.5) / STRIDE - 0.5, (y + 0.5) / STRIDE - 0.5
        column, row = int(np.clip(round(cx), 0, columns - 1)), int(np.clip(round(cy), 0, rows - 1))
        spread = max(0.09 * height / STRIDE, 0.5)
        bell = np.exp(-((u - column) ** 2 + (v - row) ** 2) / (2 * spread**2))
        heat[0] = np.maximum(heat[0], bell)
        near = (np.abs(u - column) <= 1) & (np.abs(v - row) <= 1)
        shape[0][near], shape[1][near] = (cx - u)[near], (cy - v)[near]
        shape[2][near] = np.log(height / UNIT_PX)
        counts[0][near] = 1
    return heat, shape, counts


def batch(people: People, rng: Rng, size: int) -> tuple[Tensor, ...]:
    """image (B, 3, 128, 160), heat, shape and counts as ``target`` has them."""
    columns: list[list[NDArray[np.float32]]] = [[], [], [], []]
    for _ in range(size):
        picture, faces = scene(people, rng)
        for column, value in zip(columns, (picture, *target(faces)), strict=True):
            column.append(value)
    return tuple(torch.from_numpy(np.stack(column)) for column in columns)


def loss_of(heat: Tensor, shape: Tensor, wanted: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Focal loss on the heatmap (equation 1 of the paper) and L1 on place and size."""
    bell, true_shape, counts = wanted
    belief = torch.sigmoid(heat).clamp(1e-4, 1 - 1e-4)
    peak = (bell > 0.999).float()
    positive = -peak * (1 - belief).square() * belief.log()
    negative = -(1 - peak) * (1 - bell).pow(4) * belief.square() * (1 - belief).log()
    focal = (positive + negative).sum() / peak.sum().clamp(min=1)
    off = ((shape - true_shape).abs() * counts).sum() / counts.sum().clamp(min=1)
    return focal + 0.5 * off


def train_finder(people: People, run: Path, schedule: Schedule, batch_size: int = 32) -> FaceFinder:
    """Train into ``run`` (resumes there)."""
    network: FaceFinder = FaceFinder().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def step(data: tuple[Tensor, ...], autocast: torch.autocast) -> tuple[Tensor, dict[str, float]]:
        image, *wanted = data
        with autocast:
            heat, shape = network(image.contiguous(memory_format=torch.channels_last))
        loss = loss_of(heat.float(), shape.float(), (wanted[0], wanted[1], wanted[2]))
        with torch.no_grad():
            top = wanted[0] > 0.999
            seen = float(torch.sigmoid(heat)[top].mean()) if bool(top.any()) else 0.0
        return loss, {"loss": float(loss.detach()), "peaks": seen}

    return train(network, lambda rng: batch(people, rng, batch_size), step, run, schedule)

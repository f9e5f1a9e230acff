"""Training of the face finder: people from portraits and clips, put anywhere into pictures.

Scenes have 160 x 128 pixels, so a face of 40 pixels in a 640 pixel wide video has 10. They are as
dark, noisy and tilted as webcams' are, with none to three faces, some of them cut by the edge.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.finder import STRIDE, UNIT_PX, FaceFinder
from realtime.finder import Finder
from training.data import Clip, Portraits
from training.loop import Schedule, train
from training.weights import write_shipped

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
    canvas = clutter(people.portraits.images, (WIDTH, HEIGHT), rng)
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
        canvas = np.asarray(canvas * (1 - over) + pasted * over, np.float32)
        moved = points @ matrix[:, :2].T + matrix[:, 2]
        low, high = moved.min(0), moved.max(0)
        middle, tall = (low + high) / 2, float(high[1] - low[1])
        if 0 <= middle[0] < WIDTH and 0 <= middle[1] < HEIGHT:
            faces.append((float(middle[0]), float(middle[1]), tall))
    return as_webcam(canvas / np.float32(255), rng), faces


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


def clutter(images: NDArray[np.uint8], size: tuple[int, int], rng: Rng) -> NDArray[np.float32]:
    """Walls, things, clothes: corners and lower ends of portraits, enlarged, noise and shapes.
    ``size``: width and height; (H, W, 3), 0..255."""
    width, height = size
    canvas = np.zeros((height, width, 3), np.float32)
    canvas[:] = rng.uniform(0, 255, 3)
    for _ in range(int(rng.integers(1, 6))):
        image = images[int(rng.integers(len(images)))]
        side = int(rng.integers(24, 60))
        # The upper corners and the bottom edge: no face reaches there.
        y = 0 if rng.random() < 0.6 else image.shape[0] - side // 2
        x = int(rng.choice([0, image.shape[1] - side]))
        part = image[y : y + side, x : x + side]
        w, h = int(rng.integers(30, width + 1)), int(rng.integers(30, height + 1))
        x0, y0 = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
        canvas[y0 : y0 + h, x0 : x0 + w] = cv2.resize(part, (w, h))
    for _ in range(int(rng.integers(0, 6))):
        colour = tuple(float(c) for c in rng.uniform(0, 255, 3))
        one, two = rng.integers(-20, width + 20, (2, 2))
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


def as_webcam(picture: NDArray[Any], rng: Rng) -> NDArray[np.float32]:
    """Light, colour, blur and noise. (H, W, 3) 0..1 -> (3, H, W)."""
    x: NDArray[Any] = picture * rng.uniform(0.8, 1.2, 3)
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


def write_finder(network: FaceFinder, folder: Path) -> None:
    """``finder.onnx`` and its SHA-256 beside it, as ``realtime.finder`` opens them."""
    image = torch.zeros(1, 3, HEIGHT, WIDTH)
    write_shipped(network, folder / "finder.onnx", image, ("heat", "shape"))


def compare_with_haar(clips: list[Clip], frames: int = 40) -> str:
    """The shipped finder beside OpenCV's frontal Haar cascade on frames of ``clips``, a table.

    Every frame is put into a grey 640 x 480 picture with a face of the given height; found is a
    face whose middle is at most a third of its height off. Jitter: standard deviation of the
    middle's error, in parts of the height. Milliseconds: median of one search.
    """
    finder = Finder()
    haar = cv2.CascadeClassifier(
        str(Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_alt2.xml")
    )

    def by_haar(image: Picture) -> list[tuple[float, float]]:
        small = cv2.resize(image, (320, 240), interpolation=cv2.INTER_AREA)
        grey = cv2.equalizeHist(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
        boxes = haar.detectMultiScale(grey, 1.15, 3, minSize=(20, 20))
        # The landmarks' box is centred 0.08 of the cascade's box lower.
        return [(2 * (x + side / 2), 2 * (y + side * 0.58)) for x, y, side, _ in boxes]

    def by_finder(image: Picture) -> list[tuple[float, float]]:
        return [(one.x, one.y) for one in finder.find(image, 40.0)]

    lines = [
        "face px | light | Haar: found, others, jitter, ms | finder: found, others, jitter, ms"
    ]
    for height, light in ((200, 1.0), (100, 1.0), (60, 1.0), (40, 1.0), (200, 0.2), (60, 0.2)):
        cells = []
        for find in (by_haar, by_finder):
            seen, others, errors, times, total = 0, 0, [], [], 0
            for clip in clips:
                for number in np.linspace(0, len(clip.images) - 1, frames).astype(int):
                    image, middle = _framed(clip, int(number), height, light)
                    start = time.perf_counter()
                    found = find(image)
                    times.append(time.perf_counter() - start)
                    total += 1
                    away = [(np.array(one) - middle) / height for one in found]
                    near = [one for one in away if np.hypot(*one) < 1 / 3]
                    seen += bool(near)
                    others += len(away) - len(near)
                    errors += near[:1]
            jitter = float(np.std(errors, 0).mean()) if errors else float("nan")
            cells.append(
                f"{seen / total:.3f}, {others / total:.3f}, {jitter:.3f}, "
                f"{1000 * float(np.median(times)):.1f}"
            )
        lines.append(f"{height} | {light} | {cells[0]} | {cells[1]}")
    return "\n".join(lines)


def _framed(
    clip: Clip, number: int, height: float, light: float
) -> tuple[Picture, NDArray[np.float64]]:
    """A frame in a grey 640 x 480 picture, and where the middle of the landmarks' box is."""
    rng = np.random.default_rng(number)
    points = clip.landmarks[number]
    scale = height / float(np.ptp(points[:, 1]))
    picture = np.full((480, 640, 3), 110, np.uint8)
    side = round(clip.images.shape[1] * scale)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(clip.images[number], (side, side), interpolation=how)
    cut = small[:480, :640]
    x = int(rng.integers(0, 640 - cut.shape[1] + 1))
    y = int(rng.integers(0, 480 - cut.shape[0] + 1))
    picture[y : y + cut.shape[0], x : x + cut.shape[1]] = cut
    if light < 1:
        noisy = picture * light + rng.normal(0, 4, picture.shape)
        picture = np.clip(noisy, 0, 255).astype(np.uint8)
    return picture, (points.min(0) + points.max(0)) / 2 * scale + (x, y)

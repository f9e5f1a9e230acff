"""Training of the landmark detector on portraits and clips.

Supervised by landmark pseudo-labels. Besides the positions, the gaps between the lids and between
the lips are losses of their own: a blink is three pixels, which a mean over 48 points forgets. So
is the movement between two pictures of one person.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.landmark_detector import LandmarkDetector
from models.landmarks import COUNT, MIRROR, indices
from training.data import SIZE, Clip, Portraits, flipped
from training.expression import GAZE_READ, LIDS_READ, as_read, blinks
from training.gaze import turn_gaze
from training.lids import shut_eyes
from training.loop import Schedule, train
from training.pairs import moved_portrait
from training.weights import load

INPUT = LandmarkDetector.size
NEGATIVE_SHARE = 0.15
"""Share of crops without a face, for the presence output."""

SHUT_SHARE = 0.25
"""Share of pictures whose eyes are shut by a warp."""
GAZE_SHARE = 0.35
"""Share of the others whose irises are moved by a warp."""
CLOSE_SHARE = 0.7
"""Share of the faces that fill the crop."""
MOVED_SHARE = 0.6
"""Share of the portraits that are moved by a warp."""
PORTRAIT_SHARE, CLIP_SHARE, DRAWN_SHARE = 0.45, 0.43, 0.12
MOTION_WEIGHT = 1.5

_SMALL = (
    *(("right_lid_upper", "right_lid_lower"), ("left_lid_upper", "left_lid_lower")),
    ("right_lid_upper_outer", "right_lid_lower_outer"),
    ("right_lid_upper_inner", "right_lid_lower_inner"),
    ("left_lid_upper_outer", "left_lid_lower_outer"),
    ("left_lid_upper_inner", "left_lid_lower_inner"),
    ("inner_lip_upper", "inner_lip_lower"),
    ("inner_lip_upper_right", "inner_lip_lower_right"),
    ("inner_lip_upper_left", "inner_lip_lower_left"),
    ("mouth_right", "mouth_left"),
    *(("right_iris", "right_eye_inner"), ("left_iris", "left_eye_inner")),
    *(("right_brow_outer", "right_eye_outer"), ("left_brow_outer", "left_eye_outer")),
    *(("right_brow", "right_eye_inner"), ("left_brow", "left_eye_inner")),
    *(("right_brow_inner", "right_eye_inner"), ("left_brow_inner", "left_eye_inner")),
)
# A turn or a nod is what the nose does against what lies behind it.
_TURNS = (
    *(("nose_tip", "temple_right"), ("nose_tip", "temple_left")),
    *(("nose_tip", "right_eye_outer"), ("nose_tip", "left_eye_outer")),
    *(("nose_bridge", "temple_right"), ("nose_bridge", "temple_left")),
    *(("nose_tip", "forehead"), ("nose_tip", "chin")),
)
GAPS = tuple(indices(*side) for side in zip(*_SMALL, *_TURNS, strict=True))
"""Pairs of landmarks whose difference is a loss of its own: firsts and seconds."""
GAP_WEIGHTS = (2.0,) * len(_SMALL) + (6.0,) * len(_TURNS)
"""A degree of a nod is half a pixel."""

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Faces:
    """All pictures that the detector learns from, in one list."""

    images: list[NDArray[np.uint8]]
    landmarks: list[NDArray[np.float32]]
    weights: NDArray[np.float64]
    """Probability of each picture."""
    people: NDArray[np.intp]
    """(N, 2): where the pictures of the same clip begin and end; a portrait is alone."""
    depth: NDArray[np.float32]
    """(P, 48) of the first P pictures, the portraits."""
    films: list[NDArray[np.float32]]
    """Landmarks (T, 48, 2) of every clip: what portraits are moved by."""


class View(NamedTuple):
    """How a crop is cut."""

    matrix: NDArray[Any]
    """(2, 3), picture to crop."""
    scale: float
    flip: bool


def gather(portraits: Portraits, clips: list[Clip], drawn: list[Clip]) -> Faces:
    """Portraits, clips (each person the same) and drawn faces, each by their share."""
    images: list[NDArray[np.uint8]] = []
    landmarks: list[NDArray[np.float32]] = []
    weights: list[float] = []
    people: list[tuple[int, int]] = []

    def add(share: float, pictures: NDArray[np.uint8], points: NDArray[np.float32]) -> None:
        images.extend(pictures)
        landmarks.extend(points)
        weights.extend([share / len(pictures)] * len(pictures))

    add(PORTRAIT_SHARE, portraits.images, portraits.landmarks)
    people.extend((number, number + 1) for number in range(len(images)))
    for share, group in ((CLIP_SHARE, clips), (DRAWN_SHARE, drawn)):
        frames = Counter[str]()
        for clip in group:
            frames[clip.identity] += len(clip.images)
        for clip in group:
            of_person = len(clip.images) / frames[clip.identity]
            add(share / len(frames) * of_person, clip.images, clip.landmarks)
            people.extend([(len(people), len(images))] * len(clip.images))
            shut = blinks(clip.landmarks)
            if len(shut):  # a third of the clip's share: blinks are one frame in twenty
                for index in shut:
                    weights[index - len(clip.images)] *= 1 + 0.5 * len(clip.images) / len(shut)
    total = np.array(weights)
    films = [clip.landmarks for clip in [*clips, *drawn]]
    return Faces(images, landmarks, total / total.sum(), np.array(people), portraits.depth, films)


def look(landmarks: NDArray[np.float32], rng: Rng, present: bool) -> View:
    """A random crop that shows the face, or one that does not."""
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
    return View(matrix, scale, bool(rng.random() < 0.5))


def crop(
    image: NDArray[np.uint8], landmarks: NDArray[np.float32], view: View, border: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The crop (128, 128, 3) and its landmarks (48, 2) in -1..1; ``border`` is OpenCV's."""
    if view.scale < 0.6:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.35 / view.scale), np.uint8)
    flags = cv2.INTER_LINEAR
    cut = cv2.warpAffine(image, view.matrix, (INPUT, INPUT), flags=flags, borderMode=border)
    out = np.asarray(cut, np.uint8)
    points = np.asarray(landmarks @ view.matrix[:, :2].T + view.matrix[:, 2], np.float32)
    if view.flip:
        out = out[:, ::-1]
        points = flipped(points, INPUT)
    return out, (points / (INPUT - 1) * 2 - 1).astype(np.float32)


def act(faces: Faces, chosen: int, rng: Rng) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A picture and its landmarks, the eyes shut or turned by a warp, a portrait moved by one."""
    image, landmarks = faces.images[chosen], faces.landmarks[chosen]
    if rng.random() < SHUT_SHARE:
        image, shut = shut_eyes(image, landmarks, rng.uniform(0, 0.5))
        landmarks = as_read(landmarks, shut, LIDS_READ)
    elif rng.random() < GAZE_SHARE:
        image, turned = turn_gaze(image, landmarks, *rng.normal(0, (0.14, 0.04)))
        landmarks = as_read(landmarks, turned, GAZE_READ)
    if chosen < len(faces.depth) and faces.films and rng.random() < MOVED_SHARE:
        film = faces.films[int(rng.integers(len(faces.films)))]
        first, second = rng.integers(0, len(film), 2)
        motion = film[first], film[second]
        image, landmarks = moved_portrait(image, landmarks, faces.depth[chosen], motion, rng)
    return image, landmarks


def lit(picture: NDArray[np.uint8], rng: Rng, contrast: float, brightness: float) -> NDArray[Any]:
    """(..., 3) uint8 -> float32, about 0..1, in random light and colour, sometimes grey: contrast
    from ``contrast`` to 1.4, darker or lighter by up to ``brightness``."""
    x = np.ascontiguousarray(picture, np.float32) / 255
    x = (x - 0.5) * rng.uniform(contrast, 1.4) + 0.5 + rng.uniform(-brightness, brightness)
    x = x * rng.uniform(0.8, 1.2, 3).astype(np.float32)
    if rng.random() < 0.15:
        x = np.repeat(x.mean(-1, keepdims=True), 3, -1)
    return x


def recolour(picture: NDArray[np.uint8], rng: Rng) -> NDArray[np.float32]:
    """Random light, colour, blur, noise and cover-ups, as a webcam has. HWC uint8 -> CHW float."""
    x = lit(picture, rng, 0.55, 0.22)
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
    return np.asarray(np.clip(x, 0, 1).transpose(2, 0, 1), np.float32)


def noise_picture(rng: Rng) -> NDArray[np.uint8]:
    """A picture with nothing in it: flat, gradient, blobs or noise."""
    small = rng.integers(2, 24)
    seeds = rng.uniform(0, 255, (small, small, 3)).astype(np.float32)
    x = np.asarray(cv2.resize(seeds, (INPUT, INPUT), interpolation=cv2.INTER_CUBIC), np.float32)
    return np.asarray(np.clip(x * rng.uniform(0, 1) + rng.uniform(0, 128), 0, 255), np.uint8)


def batch(faces: Faces, rng: Rng, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """images (B, 3, 128, 128), value (B, 48, 2), present (B,) of 0 and 1.

    Two and two show the same person in the same place, at another moment.
    """
    pictures, values, flags = [], [], []
    for chosen in rng.choice(len(faces.images), (size + 1) // 2, p=faces.weights):
        present = bool(rng.random() > NEGATIVE_SHARE)
        view = look(faces.landmarks[chosen], rng, present)
        border = cv2.BORDER_REFLECT_101 if present else cv2.BORDER_REPLICATE
        for number in (int(chosen), int(rng.integers(*faces.people[chosen]))):
            if present:
                picture, value = crop(*act(faces, number, rng), view, border)
            elif rng.random() < 0.25:
                picture, value = noise_picture(rng), np.zeros((COUNT, 2), np.float32)
            else:
                picture, value = crop(faces.images[chosen], faces.landmarks[chosen], view, border)
            pictures.append(recolour(picture, rng))
            values.append(value)
            flags.append(float(present))
    return (
        torch.from_numpy(np.stack(pictures[:size])),
        torch.from_numpy(np.stack(values[:size])),
        torch.tensor(flags[:size]),
    )


def loss_of(value: Tensor, presence: Tensor, target: Tensor, present: Tensor) -> Tensor:
    """Smooth L1 on positions, gaps and movement of present faces, cross-entropy on presence."""
    first, second = GAPS
    error = value - target
    gaps = error[:, first] - error[:, second]
    inside = (target.abs() < 1.05).all(-1).float() * present[:, None]
    both = inside[:, first] * inside[:, second]
    count = present.sum().clamp(min=1)

    def mean(loss: Tensor) -> Tensor:
        return loss.mean(1).sum() / count

    both = both * both.new_tensor(GAP_WEIGHTS)
    fine = mean(smooth(error, 0.02) * inside) + mean(smooth(gaps, 0.01) * both)
    # Where the detector errs alike on two pictures of a person, the movement is right all the same,
    # and it is all that a driver gives; an absolute error hides what is lost of it.
    for moved, seen in ((error, inside), (gaps, both)):
        even = len(moved) // 2 * 2
        change = moved[0:even:2] - moved[1:even:2]
        moving = seen[0:even:2] * (seen[1:even:2] > 0)
        fine = fine + MOTION_WEIGHT * mean(smooth(change, 0.01) * moving)
    return fine + 0.05 * F.binary_cross_entropy_with_logits(presence, present)


def smooth(error: Tensor, beta: float) -> Tensor:
    """Smooth L1 of (..., 2), both axes added up."""
    return F.smooth_l1_loss(error, torch.zeros_like(error), beta=beta, reduction="none").sum(-1)


def train_detector(
    faces: Faces,
    run: Path,
    schedule: Schedule,
    start_from: Path | None = None,
    teacher: Path | None = None,
    batch_size: int = 32,
) -> LandmarkDetector:
    """Train into ``run`` (resumes there), optionally starting from the weights of another detector,
    alone or in a whole model. Raises SettingsError.

    ``teacher``: the weights of a detector whose mean of two readings, of a crop and of its mirror
    image, is what a single reading is to be (Hinton et al. 2015, arXiv 1503.02531).
    """
    network: LandmarkDetector = LandmarkDetector().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if start_from is not None:
        load(network, start_from, "detector")
    taught = None
    if teacher is not None:
        taught = load(LandmarkDetector(), teacher, "detector").eval().requires_grad_(False)
        taught.to(schedule.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def step(data: tuple[Tensor, ...], autocast: torch.autocast) -> tuple[Tensor, dict[str, float]]:
        image, target, present = data
        image = image.contiguous(memory_format=torch.channels_last)
        with autocast:
            if taught is not None:
                target = read_twice(taught, image).float()
            value, presence = network(image)
        loss = loss_of(value.float(), presence.float(), target, present)
        with torch.no_grad():
            kept = present > 0.5
            error = (value[kept].float() - target[kept]).norm(dim=-1).mean() * SIZE / 2
            right = ((presence > 0) == kept).float().mean()
        return loss, {"error_px256": float(error), "presence": float(right)}

    return train(network, lambda rng: batch(faces, rng, batch_size), step, run, schedule)


def read_twice(network: LandmarkDetector, image: Tensor) -> Tensor:
    """Landmarks (B, 48, 2) in crops (B, 3, 128, 128): the mean of those in the crop and in its
    mirror image. Half of what the detector errs by is not symmetric."""
    value, mirrored = network(torch.cat([image, image.flip(-1)]))[0].chunk(2)
    back = mirrored[:, list(MIRROR)] * mirrored.new_tensor([-1.0, 1.0])
    mean: Tensor = (value + back) / 2
    return mean


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

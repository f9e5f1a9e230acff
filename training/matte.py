"""People told from what is behind them: the matte network's training, and mattes of portraits.

Nobody drew mattes of the portraits: a teacher tells them, MediaPipe Selfie Segmentation, in its
environment (``training.landmarker``). Of drawn people the truth is known.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from drawing.appearance import random_appearance
from drawing.moment import random_moment
from drawing.sitter import Sitter, View
from drawing.texture import backdrop
from models.matte import SIDE, MatteNetwork
from realtime.matte import person_matte
from training.data import Clip, Portraits
from training.finder import as_webcam, clutter
from training.landmarker import Segmenter
from training.loop import Schedule, train
from training.weights import load, write_shipped

SMALL = 96
"""Side of the mattes that other stages paste people by, pixels: thousands are made."""
DRAWN = 200
"""Drawn people, one picture of each."""
CLIP_FRAMES = 12
"""Frames of each clip."""
NEW_BACKGROUND = 0.4
"""Share of people set before something else than was behind them."""
FURTHEST, NEAREST = 0.45, 1.15
"""How large people are, against the portraits: in what the network is given of an avatar, 0.67."""
EDGE = 5.0
"""How much more pixels near a person's edge weigh."""

Rng = np.random.Generator
Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Sitters:
    """N people: images (N, 256, 256, 3) uint8 RGB, mattes (N, 256, 256) uint8, 255 the person."""

    images: NDArray[np.uint8]
    mattes: NDArray[np.uint8]


def gather(portraits: Portraits, clips: list[Clip], keep: Path) -> Sitters:
    """Portraits, frames of clips and drawn people; what the teacher says is kept in ``keep``
    (.npy) and read from there. Raises MissingPackageError without the teacher."""
    few = [clip.images[:: max(1, len(clip.images) // CLIP_FRAMES)][:CLIP_FRAMES] for clip in clips]
    images = np.concatenate([portraits.images, *few])

    def told() -> NDArray[np.uint8]:
        with Segmenter() as teacher:
            return np.stack([teacher.matte(image) for image in images])

    drawn = [drawn_sitter(number) for number in range(DRAWN)]
    return Sitters(
        np.concatenate([images, [picture for picture, _ in drawn]]),
        np.concatenate([_kept(keep, told), [matte for _, matte in drawn]]),
    )


def drawn_sitter(number: int) -> tuple[Picture, Picture]:
    """A drawn person before a wall, as large as in the portraits, and where he really is."""
    rng = np.random.default_rng(number)
    look = random_appearance(number)
    sitter, moment = Sitter(look), random_moment(rng)
    view = View(SIDE, SIDE, 0.21 * SIDE, SIDE / 2, 0.46 * SIDE)
    tall = float(np.ptp(sitter.truth(moment, view).landmarks[:, 1]))
    place = SIDE * rng.uniform((0.42, 0.42), (0.58, 0.5))
    view = View(SIDE, SIDE, view.scale * 0.5 * SIDE / tall, *place)
    picture = backdrop(look, SIDE, SIDE)
    canvases = [np.full((SIDE, SIDE, 3), colour, np.uint8) for colour in (0, 255)]
    for canvas in (picture, *canvases):
        sitter.draw(canvas, moment, view, detail=1.0)
    # What a black and a white wall differ in is how much of the wall is seen.
    seen = (canvases[1].astype(np.int16) - canvases[0]).max(-1)
    return picture, np.asarray(255 - np.clip(seen, 0, 255), np.uint8)


def sample(sitters: Sitters, rng: Rng) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A picture (3, 256, 256) 0..1 and its matte (1, 256, 256) 0..1: somebody nearer or further,
    turned, maybe before something else, in whatever light."""
    chosen = int(rng.integers(len(sitters.images)))
    image, matte = sitters.images[chosen], sitters.mattes[chosen]
    if rng.random() < 0.5:
        image, matte = image[:, ::-1], matte[:, ::-1]
    scale = float(np.exp(rng.uniform(np.log(FURTHEST), np.log(NEAREST))))
    middle = SIDE / 2 - 0.5
    turn = cv2.getRotationMatrix2D((middle, middle), rng.normal(0, 8), scale)
    matrix = np.array(turn, np.float64)
    matrix[:, 2] += rng.uniform(-0.12, 0.12, 2) * SIDE
    if scale < 0.7:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.35 / scale), np.uint8)
    size = SIDE, SIDE
    # Bodies and walls go on beyond the portrait's edge, as its last pixels are.
    edge = cv2.BORDER_REPLICATE
    picture = cv2.warpAffine(np.ascontiguousarray(image), matrix, size, borderMode=edge)
    moved = cv2.warpAffine(np.ascontiguousarray(matte), matrix, size, borderMode=edge)
    cover = np.asarray(moved[..., None], np.float32) / 255
    shown = np.asarray(picture, np.float32)
    if rng.random() < NEW_BACKGROUND:
        sharp = np.clip((cover - 0.3) / 0.6, 0, 1)
        shown = np.asarray(shown * sharp + clutter(sitters.images, size, rng) * (1 - sharp))
    return as_webcam(shown / 255, rng), np.asarray(cover.transpose(2, 0, 1), np.float32)


def batch(sitters: Sitters, rng: Rng, size: int) -> tuple[Tensor, ...]:
    """image (B, 3, 256, 256) and matte (B, 1, 256, 256), as ``sample`` has them."""
    pictures, mattes = zip(*(sample(sitters, rng) for _ in range(size)), strict=True)
    return torch.from_numpy(np.stack(pictures)), torch.from_numpy(np.stack(mattes))


def loss_of(logits: Tensor, matte: Tensor) -> Tensor:
    """Cross entropy, weighted up where the matte changes."""
    near = F.max_pool2d(matte, 9, 1, 4) + F.max_pool2d(-matte, 9, 1, 4)  # 0 far from edges
    weight = 1 + EDGE * near
    each = F.binary_cross_entropy_with_logits(logits, matte, reduction="none")
    return (each * weight).sum() / weight.sum()


def train_matte(
    sitters: Sitters, run: Path, schedule: Schedule, start_from: Path | None = None, size: int = 16
) -> MatteNetwork:
    """Train into ``run`` (resumes there); ``start_from``: weights to begin with."""
    network: MatteNetwork = MatteNetwork().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if start_from is not None:
        load(network, start_from, "matte")

    def step(data: tuple[Tensor, ...], autocast: torch.autocast) -> tuple[Tensor, dict[str, float]]:
        image, matte = data
        with autocast:
            logits = network(image.contiguous(memory_format=torch.channels_last))
        loss = loss_of(logits, matte)
        with torch.no_grad():
            off = float((torch.sigmoid(logits) - matte).abs().mean())
        return loss, {"loss": float(loss.detach()), "off": off}

    return train(network, lambda rng: batch(sitters, rng, size), step, run, schedule)


def write_matte(network: MatteNetwork, folder: Path) -> None:
    """``matte.onnx`` and its SHA-256 beside it, as ``realtime.matte`` opens them."""
    image = torch.zeros(1, 3, SIDE, SIDE)
    write_shipped(network, folder / "matte.onnx", image, ("logits",))


def mattes(portraits: Portraits, keep: Path | None = None) -> NDArray[np.uint8]:
    """The shipped network's matte of each portrait, (N, 96, 96); kept in ``keep`` (.npy) and read
    from there."""

    def told() -> NDArray[np.uint8]:
        pairs = zip(portraits.images, portraits.landmarks, strict=True)
        found = [cv2.resize(person_matte(*pair), (SMALL, SMALL)) for pair in pairs]
        return np.asarray(np.stack(found), np.uint8)

    return _kept(keep, told)


def _kept(keep: Path | None, make: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    if keep is not None and keep.exists():
        return np.asarray(np.load(keep), np.uint8)
    found = make()
    if keep is not None:
        keep.parent.mkdir(parents=True, exist_ok=True)
        temporary = keep.with_suffix(".tmp.npy")
        np.save(temporary, found)
        os.replace(temporary, keep)
    return found

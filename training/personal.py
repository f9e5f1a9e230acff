"""Fine-tuning on one avatar: a few pictures or a short film of the person.

The generator learns this face's teeth, lids and hair; the landmark detector, which reads drivers,
stays. Some drawn people are mixed in, so that what every face does is not forgotten.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from config.errors import AvatarError, SourceError
from models.compact import CompactModel
from models.head import MEAN_SHAPE
from realtime.assembly import PICTURES
from realtime.avatar import TIGHTEST, read_picture
from realtime.crop import Crop
from realtime.face import Tracker
from realtime.frame import Image
from realtime.video import VideoFile
from training import pairs
from training.data import SIZE, Clip, Portraits
from training.drawn import drawn_clips
from training.generator import LossWeights, pair_error, train_generator
from training.loop import Schedule
from training.matte import mattes

MOST_FRAMES = 400
"""Of a film, evenly spaced."""
MOST_PORTRAITS = 40
"""Pictures, or frames of the film, that are cut out and warped besides."""
DRAWN = (16, 6)
LEARNING_RATE = 1e-4
KEPT = 0.5
"""``Schedule.kept``."""
CHECKS = 6
"""Batches of pairs by which it is judged."""


def read_person(path: Path, tracker: Tracker) -> tuple[Portraits, Clip | None]:
    """A picture, a folder of pictures or a film of one person, as training has them.

    Raises AvatarError or SourceError where it cannot be read or shows no face.
    """
    if path.is_dir() or path.suffix.lower() in PICTURES:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        found = [
            one
            for file in files
            if file.suffix.lower() in PICTURES
            and (one := _framed(read_picture(file), tracker)) is not None
        ]
        if not found:
            raise AvatarError(f"{path}: no face in it; give pictures or a film of one person")
        return _portraits(found), None
    clip = _film(path, tracker)
    spread = np.linspace(0, len(clip.images) - 1, MOST_PORTRAITS).astype(int)
    frames = [(clip.images[n], clip.landmarks[n]) for n in np.unique(spread)]
    return _portraits(frames), clip


def fine_tune(
    model: CompactModel, person: tuple[Portraits, Clip | None], run: Path, schedule: Schedule
) -> tuple[float, float]:
    """Train ``model`` in place; returns its error before and after, on pairs that it did not see.

    The error is the mean absolute difference (0..1) in and around eyes and mouth. What was not seen
    is the film's last sixth, or, of pictures alone, other warps of them.
    """
    portraits, clip = person
    held_out = clip
    if clip is not None:
        cut = len(clip.images) * 5 // 6
        held_out = Clip(clip.identity, clip.images[cut:], clip.landmarks[cut:])
        clip = Clip(clip.identity, clip.images[:cut], clip.landmarks[:cut])
        portraits = portraits.select(np.arange(len(portraits.images)) < MOST_PORTRAITS * 5 // 6)
    cut_out = mattes(portraits)
    drawn = drawn_clips(*DRAWN)
    material = pairs.gather(portraits, cut_out, [clip] if clip else [], drawn)
    judged = pairs.gather(portraits, cut_out, *(([held_out], []) if held_out else ([], drawn)))
    rng = np.random.default_rng(2**32 - 1)  # not one that training uses
    checks = [pairs.batch(judged, rng, 4) for _ in range(CHECKS)]
    before = _error(model, checks)
    # No critic: in minutes, and from one mouth, it would learn this film by heart.
    weights, schedule = LossWeights(mouth=0.0), replace(schedule, kept=KEPT)
    train_generator(model, material, run, schedule, batch_size=4, weights=weights)
    return before, _error(model, checks)


def _error(model: CompactModel, checks: list[tuple[torch.Tensor, ...]]) -> float:
    model.eval()
    return float(np.mean([pair_error(model, check) for check in checks]))


def _framed(image: Image, tracker: Tracker) -> tuple[Image, NDArray[np.float32]] | None:
    faces = tracker.find_all(image)
    if not faces:
        return None
    crop = Crop.around(faces[0].landmarks).within(image, TIGHTEST)
    return crop.cut(image, SIZE), _pixels(crop, faces[0].landmarks)


def _pixels(crop: Crop, landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((crop.from_frame(landmarks) + 1) / 2 * (SIZE - 1), np.float32)


def _film(path: Path, tracker: Tracker) -> Clip:
    source = VideoFile(path, clock=lambda: 0.0)
    images, landmarks = [], []
    crop: Crop | None = None
    try:
        while (frame := source.read()) is not None:
            face = tracker.track(frame.image, frame.captured_at)
            if face is None:
                continue
            crop = crop or Crop.around(face.landmarks).within(frame.image, TIGHTEST)
            images.append(crop.cut(frame.image, SIZE))
            landmarks.append(_pixels(crop, face.landmarks))
            if len(images) >= 2 * MOST_FRAMES:  # thinned out, so that memory stays bounded
                images, landmarks = images[::2], landmarks[::2]
    finally:
        source.close()
    if len(images) < 12:
        raise SourceError(
            f"{path}: a face in only {len(images)} of its frames; some seconds of one are needed"
        )
    return Clip("person", np.stack(images), np.stack(landmarks))


def _portraits(found: list[tuple[Image, NDArray[np.float32]]]) -> Portraits:
    landmarks = np.stack([points for _, points in found])
    depth = np.outer(np.ptp(landmarks[..., 0], axis=1), MEAN_SHAPE[:, 2])
    return Portraits(np.stack([image for image, _ in found]), landmarks, depth.astype(np.float32))

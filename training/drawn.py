"""Faces of the built-in performer with their ground truth, as training material.

They cost nothing, belong to nobody, and show what clips of real people seldom do: shut eyes, open
mouths with teeth, wide gazes, and a background that truly stands still.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drawing.appearance import random_appearance
from drawing.moment import random_moment
from realtime.crop import Crop
from realtime.performer import draw
from training.data import SIZE, Clip, save_arrays

CANVAS = 400
"""Side of the drawn pictures, pixels, before the crop."""


def drawn_clips(people: int, frames: int, keep: Path | None = None) -> list[Clip]:
    """``people`` clips of ``frames`` unrelated frames each.

    With ``keep`` (a .npz file) they are drawn once, in some minutes, and then read from there.
    """
    if keep is not None and keep.exists():
        with np.load(keep) as data:
            images, landmarks = data["images"], data["landmarks"]
    else:
        # One at a time: an appearance is prepared once and drawn many times.
        clips = [_drawn_clip(number, frames) for number in range(people)]
        images = np.stack([one for one, _ in clips])
        landmarks = np.stack([one for _, one in clips])
        if keep is not None:
            keep.parent.mkdir(parents=True, exist_ok=True)
            save_arrays(keep, images=images, landmarks=landmarks)
    pairs = zip(images, landmarks, strict=True)
    return [Clip(f"drawn {number}", *pair) for number, pair in enumerate(pairs)]


def _drawn_clip(number: int, frames: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    rng = np.random.default_rng(number)
    appearance = random_appearance(number)
    images, landmarks = [], []
    crop: Crop | None = None
    for _ in range(frames):
        picture, truth = draw(appearance, random_moment(rng), CANVAS, CANVAS)
        if crop is None:  # one crop a clip, as in the clips of real people
            around = Crop.around(truth.landmarks)
            shift = rng.uniform(-0.06, 0.06, 2) * around.side
            crop = Crop(around.cx + shift[0], around.cy + shift[1], around.side)
        images.append(crop.cut(picture, SIZE))
        landmarks.append((crop.from_frame(truth.landmarks) + 1) / 2 * (SIZE - 1))
    return np.stack(images), np.stack(landmarks).astype(np.float32)

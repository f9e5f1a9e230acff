"""The shipped avatars: four portraits of nobody, drawn from the performer's head.

``python -m realtime.portraits FOLDER`` draws them again.
"""

import datetime
import hashlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from drawing import texture
from drawing.appearance import Appearance
from drawing.curves import Array
from drawing.head import Shape
from drawing.moment import Moment
from drawing.sitter import Sitter, View
from provenance.consent import Consent, keep_consent
from realtime.assembly import SHIPPED
from realtime.crop import CROP_RATIO
from realtime.frame import Image

SIDE = 512
"""Width and height of an avatar, pixels."""
_FINE = 2
"""Portraits are drawn this many times larger, then scaled down."""


def portrait(look: Appearance, side: int) -> Image:
    """(side, side, 3) uint8 RGB: neutral, looking ahead, framed as the networks expect faces."""
    sitter, moment = Sitter(look), Moment()
    view = View(side, side, 0.03 * side, side / 2, side / 2)
    for _ in range(3):  # perspective makes the framing not quite linear
        marks = sitter.truth(moment, view).landmarks
        low, high = marks.min(axis=0), marks.max(axis=0)
        zoom = side / CROP_RATIO / float(high[1] - low[1])
        x, y = (side - 1) / 2 - (low + high) / 2
        view = replace(view, scale=view.scale * zoom, x=view.x + float(x), y=view.y + float(y))
    canvas = texture.backdrop(look, side, side)
    sitter.draw(canvas, moment, view, detail=1.0)
    return canvas


def comic(image: Image) -> Image:
    """Flat tones and ink lines."""
    smooth: Array = image
    for _ in range(4):
        smooth = cv2.bilateralFilter(smooth, 9, 26, 6)
    hls = cv2.cvtColor(smooth, cv2.COLOR_RGB2HLS).astype(np.float32)
    tone = hls[..., 1] / 30
    step = np.floor(tone)
    hls[..., 1] = 30 * (step + 1 / (1 + np.exp(-9 * (tone - step - 0.5))))
    hls[..., 2] *= 1.2
    flat = cv2.cvtColor(np.clip(hls, 0, 255).astype(np.uint8), cv2.COLOR_HLS2RGB)
    grey = cv2.cvtColor(smooth, cv2.COLOR_RGB2GRAY).astype(np.float32)
    edge = cv2.GaussianBlur(grey, (0, 0), 1.8) - 0.985 * cv2.GaussianBlur(grey, (0, 0), 3.6)
    ink = 1 / (1 + np.exp(-(edge + 4.2) * 1.1))
    return np.asarray(np.clip(flat * (0.15 + 0.85 * ink[..., None]), 0, 255), np.uint8)


def oil(image: Image) -> Image:
    """Brush strokes (the filter of Kuwahara et al. 1976: each pixel the calmest of four
    neighbourhoods) on canvas."""
    picture: Array = image.astype(np.float32)
    for radius in (4, 3):
        picture = _calmest(picture, radius)
    rng = np.random.default_rng(1)
    strokes = texture.noise(rng, 5, 1.6, len(image)) + texture.noise(rng, 1.6, 5, len(image))
    picture = (picture - 128) * 1.06 + 126 + 1.6 * strokes[..., None]
    return np.asarray(np.clip(picture * [1.02, 0.99, 0.93], 0, 255), np.uint8)


def _calmest(picture: Array, radius: int) -> Array:
    edge = radius + 1
    picture = cv2.copyMakeBorder(picture, edge, edge, edge, edge, cv2.BORDER_REPLICATE)
    mean: Array = cv2.blur(picture, (radius + 1, radius + 1))
    spread = (cv2.blur(picture**2, (radius + 1, radius + 1)) - mean**2).sum(axis=-1)
    half = (radius + 1) // 2
    shifts = [(y, x) for y in (-half, half) for x in (-half, half)]
    means = np.stack([np.roll(mean, shift, (0, 1)) for shift in shifts])
    spreads = np.stack([np.roll(spread, shift, (0, 1)) for shift in shifts])
    best = spreads.argmin(axis=0)[None, ..., None]
    return np.asarray(np.take_along_axis(means, best, axis=0)[0, edge:-edge, edge:-edge])


def _plain(image: Image) -> Image:
    return image


PORTRAITS: dict[str, tuple[Appearance, Callable[[Image], Image]]] = {
    "amara": (
        Appearance(
            shape=Shape(
                width=0.97, jaw=0.9, chin=-0.3, cheeks=0.5, nose_width=1.12, nose_length=0.9,
                eyes=1.15, eye_tilt=0.16, brow_y=-0.15, brow_thickness=0.75, brow_arch=0.2,
                lips=1.2,
            ),
            skin=(146, 94, 66), lips=(140, 62, 62), eyes=(76, 48, 30), hair="curly",
            hair_colour=(46, 32, 28), clothes="v-neck", clothes_colour=(212, 150, 62),
            backdrop="studio", backdrop_colour=(84, 136, 138), age=0.0, blush=0.6, lashes=0.85,
            light_side=-38, light_strength=1.22, warmth=0.35, seed=21,
        ),
        _plain,
    ),
    "henrik": (
        Appearance(
            shape=Shape(
                width=1.03, jaw=1.06, chin=0.2, cheeks=-0.2, nose_width=1.1, nose_length=1.12,
                eyes=0.95, eye_tilt=-0.1, brow_y=0.1, brow_thickness=1.35, lips=0.75, beard=1.0,
            ),
            skin=(232, 186, 162), lips=(190, 116, 108), eyes=(92, 126, 150), hair="receding",
            hair_colour=(198, 196, 192), beard="full", glasses="round",
            glasses_colour=(70, 56, 48), clothes="jacket", clothes_colour=(72, 78, 92),
            backdrop="room", backdrop_colour=(168, 156, 138), age=0.85, blush=0.6, lashes=0.2,
            light_side=30, warmth=0.2, seed=4,
        ),
        _plain,
    ),
    "mio": (
        Appearance(
            shape=Shape(
                width=1.0, jaw=0.86, chin=-0.6, cheeks=0.6, nose_width=0.85, nose_length=0.85,
                eyes=1.45, eye_tilt=0.1, brow_y=-0.1, brow_thickness=0.7, brow_arch=0.2, mouth=0.86,
                lips=0.85,
            ),
            skin=(248, 212, 190), lips=(216, 104, 108), eyes=(58, 132, 150), hair="fringe",
            hair_colour=(196, 66, 98), clothes="crew", clothes_colour=(250, 196, 70),
            backdrop="studio", backdrop_colour=(132, 196, 222), age=0.0, blush=0.9,
            lashes=0.9, light_side=-30, light_strength=1.1, seed=8,
        ),
        comic,
    ),
    "isolde": (
        Appearance(
            shape=Shape(
                width=0.98, jaw=0.93, chin=-0.1, cheeks=0.1, nose_width=0.95, nose_length=1.05,
                eyes=1.1, eye_tilt=0.05, brow_thickness=0.7, brow_arch=0.2, mouth=0.95, lips=0.95,
            ),
            skin=(236, 196, 168), lips=(178, 86, 82), eyes=(104, 112, 70), hair="long",
            hair_colour=(134, 72, 38), clothes="v-neck", clothes_colour=(74, 30, 36),
            backdrop="studio", backdrop_colour=(86, 70, 50), age=0.1, blush=0.8, lashes=0.45,
            light_side=-60, light_strength=1.02, warmth=0.8, seed=30,
        ),
        oil,
    ),
}  # fmt: skip
"""Name -> how the person looks, and what is done to the picture."""


def shipped_avatars() -> list[tuple[str, Path]]:
    """Names and pictures (512 x 512 PNG) of the avatars that come with the app."""
    return [(name, SHIPPED / f"{name}.png") for name in PORTRAITS]


def main() -> None:
    """Draw all portraits into the folder named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m realtime.portraits FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, (look, finish) in PORTRAITS.items():
        path = folder / f"{name}.png"
        fine = finish(portrait(look, _FINE * SIDE))
        picture = cv2.resize(fine, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        done, data = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])
        assert done  # noqa: S101 - an 8-bit picture in memory always encodes
        path.write_bytes(data.tobytes())
        digest = hashlib.sha256(data.tobytes()).hexdigest()
        keep_consent(path, Consent("drawn", datetime.date.today().isoformat(), digest))
        print(f"{path}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()

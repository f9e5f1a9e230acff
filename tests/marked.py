"""Films for the tests of the mark: a scene of our own with motion, and what happens to films."""

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from provenance.watermark import Payload, Watermark

Picture = NDArray[np.uint8]
PAYLOAD = Payload(day=323, session=0x2A51F)
FPS = 30


def scene(
    width: int = 320, height: int = 240, seconds: float = 10.0, seed: int = 1
) -> list[Picture]:
    """A soft backdrop before which a textured disc wanders, breathes and turns; camera noise."""
    rng = np.random.default_rng(seed)
    back = cv2.GaussianBlur(rng.uniform(0, 255, (height, width, 3)).astype(np.float32), (0, 0), 24)
    back = 110 + (back - back.mean()) * 12
    side = height
    cloth = cv2.GaussianBlur(rng.uniform(0, 255, (side, side, 3)).astype(np.float32), (0, 0), 3)
    cloth = 130 + (cloth - cloth.mean()) * 4
    disc = np.zeros((side, side), np.float32)
    cv2.circle(disc, (side // 2, side // 2), side // 3, 1, cv2.FILLED)
    cover = cv2.GaussianBlur(disc, (0, 0), 2)[..., None]
    pictures = []
    for number in range(round(seconds * FPS)):
        t = number / FPS
        turn = cv2.getRotationMatrix2D(
            (side / 2, side / 2), 6 * np.sin(1.9 * t), 1 + 0.05 * np.sin(2.7 * t)
        )
        turn[:, 2] += (width - side) / 2 + 8 * np.sin(1.1 * t), 6 * np.sin(2.3 * t)
        moved = cv2.warpAffine(cloth, turn, (width, height))
        shown = cv2.warpAffine(cover, turn, (width, height))[..., None]
        picture = back + (moved - back) * shown + rng.normal(0, 0.6, (height, width, 1))
        pictures.append(np.clip(picture + 0.5, 0, 255).astype(np.uint8))
    return pictures


def marked(
    pictures: Sequence[Picture], start_s: float = 0.0, payload: Payload = PAYLOAD
) -> list[tuple[Picture, float]]:
    """Marked copies with their times, which are counted from ``start_s``."""
    mark = Watermark(payload)
    film = []
    for number, picture in enumerate(pictures):
        copy = picture.copy()
        mark.apply(copy, start_s + number / FPS)
        film.append((copy, number / FPS))
    return film


def coded(
    film: Sequence[tuple[Picture, float]],
    options: dict[str, str],
    *,
    codec: str = "libx264",
    size: tuple[int, int] | None = None,
    bit_rate: int | None = None,
) -> list[tuple[Picture, float]]:
    """The film encoded and decoded again, scaled to ``size`` before."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream(codec, rate=Fraction(FPS), options=options)
        stream.height, stream.width = film[0][0].shape[:2]
        if size:
            stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        if bit_rate:
            stream.bit_rate = bit_rate
        for picture, time_s in film:
            scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if size else picture
            frame = av.VideoFrame.from_ndarray(scaled, format="rgb24")
            frame.time_base = Fraction(1, 1000)
            frame.pts = round(time_s * 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer) as container:
        return [
            (frame.to_ndarray(format="rgb24"), float(frame.time or 0))
            for frame in container.decode(video=0)
        ]

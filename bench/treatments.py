"""What happens to a film on its way to somebody who wants to know whether it is marked."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import cv2
import numpy as np

from realtime.frame import Image

Film = Iterable[tuple[Image, float]]
"""Pictures, (H, W, 3) uint8 RGB, and their times in seconds, rising."""
Treatment = Callable[[Film], Film]

_DESKTOP = (1920, 1080)
_WINDOW = (640, 170, 900)
"""Left, top and longer side of a call's window on the desktop, pixels."""


def coded(
    film: Film,
    options: Mapping[str, str],
    codec: str = "libx264",
    bit_rate: int | None = None,
) -> Iterator[tuple[Image, float]]:
    """Encoded and decoded again, times as they were. ``bit_rate``: bits per second."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream: Any = None
        for image, time_s in film:
            if stream is None:
                stream = container.add_stream(codec, rate=30, options=dict(options))
                # Codecs want even sides.
                stream.width, stream.height = image.shape[1] & ~1, image.shape[0] & ~1
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = Fraction(1, 90_000)
                if bit_rate:
                    stream.bit_rate = bit_rate
            even = np.ascontiguousarray(image[: stream.height, : stream.width])
            picture = av.VideoFrame.from_ndarray(even, format="rgb24")
            picture.pts, picture.time_base = round(time_s * 90_000), Fraction(1, 90_000)
            container.mux(stream.encode(picture))
        if stream is None:
            return
        container.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer, "r") as coded_film:
        for frame in coded_film.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), float(frame.time or 0)


def crf_30(film: Film) -> Film:
    """H.264 at a constant rate factor of 30."""
    return coded(film, {"crf": "30", "preset": "veryfast"})


def call(film: Film) -> Film:
    """As a call codes it: H.264 at 300 kbit/s at most, nothing held back, some frames lost."""
    kept = (one for number, one in enumerate(film) if number % 6 != 4)
    options = {"preset": "veryfast", "tune": "zerolatency", "maxrate": "300k", "bufsize": "300k"}
    return coded(kept, options, bit_rate=300_000)


def call_vp8(film: Film) -> Film:
    """The same with the codec of most calls in browsers."""
    options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
    return coded(film, options, "libvpx", bit_rate=300_000)


def _each(change: Callable[[Image], Any]) -> Treatment:
    def treat(film: Film) -> Film:
        return ((np.ascontiguousarray(change(image), np.uint8), time_s) for image, time_s in film)

    return treat


def _half(image: Image) -> Any:
    size = image.shape[1] // 2, image.shape[0] // 2
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _jpeg_70(image: Image) -> Any:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 70])[1]
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def _cropped(image: Image) -> Any:
    """A twentieth off each axis, not from the middle."""
    height, width = image.shape[:2]
    return image[height // 60 : height - height // 30, width // 30 : width - width // 60]


def _letterboxed(image: Image) -> Any:
    """Bars that make a square or wide picture 4:3 or wider, then bars above and below."""
    height, width = image.shape[:2]
    if width * 9 < height * 16:
        bars = (height * 16 // 9 - width) // 2
        return cv2.copyMakeBorder(image, 0, 0, bars, bars, cv2.BORDER_CONSTANT)
    bars = (width * 3 // 4 - height) // 2
    return cv2.copyMakeBorder(image, bars, bars, 0, 0, cv2.BORDER_CONSTANT)


def _on_a_desktop(image: Image) -> Any:
    """In a window, enlarged or made smaller, on a screen that shows other things."""
    width, height = _DESKTOP
    rows, columns = np.indices((height, width), np.int32)
    paper = (235 - 12 * ((rows // 24 + columns // 190) % 2)).astype(np.uint8)
    paper[(rows % 24 < 11) & (columns * 7 % 23 < 9)] = 60  # as lines of text
    desktop = np.dstack([paper, paper, paper])
    left, top, side = _WINDOW
    scale = side / max(image.shape[:2])
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    shown = cv2.resize(image, size, interpolation=method)[: height - top]
    desktop[top : top + shown.shape[0], left : left + size[0]] = shown
    return desktop


def virtual_camera(film: Film) -> Iterator[tuple[Image, float]]:
    """Read from a virtual camera by somebody else: each picture 40 to 130 ms late, the one that is
    there when his clock ticks, in 4:2:0."""
    rng = np.random.default_rng(0)

    def late() -> Iterator[tuple[Image, float]]:
        last_s = 0.0
        for image, time_s in film:
            last_s = max(last_s + 1e-3, time_s + float(rng.uniform(0.04, 0.13)))
            yield image, last_s

    for image, time_s in at_rate(30)(late()):
        height, width = image.shape[0] & ~1, image.shape[1] & ~1
        planes = cv2.cvtColor(image[:height, :width], cv2.COLOR_RGB2YUV_I420)
        yield np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420), np.uint8), time_s


def at_rate(fps: float) -> Treatment:
    """Converted to another rate: the picture that is shown when each new one is due."""

    def treat(film: Film) -> Iterator[tuple[Image, float]]:
        number, before, first_s = 0, None, None
        for image, time_s in film:
            first_s = time_s if first_s is None else first_s
            while before is not None and first_s + number / fps < time_s - 1e-6:
                yield before, first_s + number / fps
                number += 1
            before = image

    return treat


half = _each(_half)
jpeg_70 = _each(_jpeg_70)
cropped = _each(_cropped)
mirrored = _each(lambda image: image[:, ::-1])
letterboxed = _each(_letterboxed)
on_a_desktop = _each(_on_a_desktop)


def _one_after_another(*steps: Treatment) -> Treatment:
    def treat(film: Film) -> Film:
        for step in steps:
            film = step(film)
        return film

    return treat


TREATMENTS: Mapping[str, Treatment] = {
    "as written": lambda film: film,
    "H.264 CRF 30": crf_30,
    "half size": half,
    "JPEG 70": jpeg_70,
    "5 % crop": cropped,
    "mirror": mirrored,
    "letterbox": letterboxed,
    "25 fps": at_rate(25),
    "30 fps": at_rate(30),
    "60 fps": at_rate(60),
    "virtual camera": virtual_camera,
    "call, H.264, 300 kbit/s": call,
    "call, VP8, 300 kbit/s": call_vp8,
    "half size, H.264 CRF 30": _one_after_another(half, crf_30),
    "half size, H.264 CRF 30, JPEG 70": _one_after_another(half, crf_30, jpeg_70),
    "crop, mirror, 25 fps, H.264 CRF 30": _one_after_another(
        cropped, mirrored, at_rate(25), crf_30
    ),
    "call at half size, mirror": _one_after_another(half, call, mirrored),
    "letterbox, half size, H.264 CRF 30": _one_after_another(letterboxed, half, crf_30),
    "window on a desktop, H.264 CRF 26": _one_after_another(
        on_a_desktop, lambda film: coded(film, {"crf": "26", "preset": "veryfast"})
    ),
    "call, then recorded from the screen": _one_after_another(call, on_a_desktop, crf_30),
}
"""By name, in the order of the table in docs/provenance.md."""

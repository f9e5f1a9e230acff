"""Pictures and videos of the performer for tests: an avatar, a driving video with sound."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from models.published import file_hash
from provenance.consent import Consent, keep_consent
from realtime.performer import perform, random_appearance

NTSC = Fraction(30000, 1001)


def write_avatar(path: Path, seed: int = 3) -> Path:
    """A picture of a drawn face other than the performer's, looking ahead, and that it is drawn."""
    image, _ = perform(0.0, random_appearance(seed))
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    keep_consent(path, Consent("drawn", "2026-11-20", file_hash(path)))
    return path


def faces(count: int, rate: Fraction = NTSC, start_s: float = 3.0) -> list[NDArray[np.uint8]]:
    """Frames of the performer, (480, 640, 3), moving and speaking from ``start_s`` on."""
    return [perform(start_s + float(number / rate))[0] for number in range(count)]


def blank(count: int) -> list[NDArray[np.uint8]]:
    """Frames without a face."""
    return [np.full((480, 640, 3), 96, np.uint8)] * count


def write_video(
    path: Path,
    images: Sequence[NDArray[np.uint8]],
    rate: Fraction = NTSC,
    sound: str | None = None,
    times: Sequence[Fraction] | None = None,
) -> Path:
    """A video of ``images`` at ``rate``, or at ``times`` in seconds; ``sound``: its encoder."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        video.height, video.width = images[0].shape[:2]
        video.pix_fmt = "yuv420p"
        if times is not None:
            video.codec_context.time_base = video.time_base = Fraction(1, 90_000)
        audio = container.add_stream(sound, rate=48_000) if sound else None
        if audio is not None:
            audio.layout = "stereo"
        for number, image in enumerate(images):
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            if times is not None:
                picture.pts = round(times[number] * 90_000)
                picture.time_base = Fraction(1, 90_000)
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        if audio is not None:
            for block in range(int(len(images) / rate * 48_000) // 960):
                container.mux(audio.encode(_tone(block)))
            container.mux(audio.encode(None))
    return path


def write_sound(path: Path) -> Path:
    """A file of sound alone."""
    with av.open(str(path), "w") as container:
        audio = container.add_stream("aac", rate=48_000)
        audio.layout = "stereo"
        container.mux([packet for block in range(20) for packet in audio.encode(_tone(block))])
        container.mux(audio.encode(None))
    return path


def _tone(block: int) -> av.AudioFrame:
    """20 ms of 440 Hz."""
    phase = (np.arange(960) + 960 * block) / 48_000 * 440 * 2 * np.pi
    samples = np.sin(phase).astype(np.float32) * np.float32(0.25)
    frame = av.AudioFrame.from_ndarray(np.stack([samples, samples]), format="fltp", layout="stereo")
    frame.sample_rate = 48_000
    frame.pts = 960 * block
    frame.time_base = Fraction(1, 48_000)
    return frame


def read_video(path: Path) -> tuple[list[NDArray[np.uint8]], list[float]]:
    """All frames of a video and their times in seconds."""
    with av.open(str(path)) as container:
        found = [(one.to_ndarray(format="rgb24"), one.time) for one in container.decode(video=0)]
    return [image for image, _ in found], [float(time or 0) for _, time in found]

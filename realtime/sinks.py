"""Where finished frames go: which output a text names, and what every output promises.

A sink says by ``repeat_fps`` how often its own clock wants a frame; the pipeline gives it each new
frame at once and the last one again when that clock is due. A file's clock is that of the frames'
``captured_at``: it fills its own gaps.
"""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from config.errors import SinkError
from config.schema import OutputSettings
from realtime.broadcast import SCHEMES, Broadcast
from realtime.frame import Frame
from realtime.mjpeg import MjpegServer
from realtime.pipewire import PipeWireCamera
from realtime.recording import VideoWriter
from realtime.virtual_camera import VirtualCamera
from realtime.window import Window


class Sink(Protocol):
    """Takes frames, (height, width, 3) uint8 RGB. Not thread-safe: one thread sends and closes."""

    name: str
    repeat_fps: float | None
    """Rate below which the last frame is wanted again, frames per second; None: never."""

    def send(self, frame: Frame) -> None:
        """Show, write or keep one frame. Raises SinkError; the sink is of no use after that."""
        ...

    def close(self) -> None:
        """Let go of the device or finish the file; twice is fine."""
        ...


HELP = (
    "auto, virtualcam, virtualcam:DEVICE, pipewire, mjpeg, mjpeg:PORT, udp://HOST:PORT, "
    "srt://HOST:PORT, rtmp://HOST/APP/KEY, window, file:NAME.mp4 (.mov, .webm)"
)
"""What ``open_sink`` opens, for the user."""
AUTO = ("virtualcam", "pipewire", "mjpeg")
"""What ``auto`` tries: every program sees the first, browsers and OBS the second, OBS the last."""


def open_sink(text: str, settings: OutputSettings) -> Sink:
    """Open one of ``HELP``, or ``memory``. Raises SinkError."""
    kind, colon, which = text.partition(":")
    match kind:
        case "auto" if not colon:
            return open_best(settings)[0]
        case "virtualcam" if which or not colon:
            return VirtualCamera(settings, which or None)
        case "pipewire" if not colon:
            return PipeWireCamera(settings)
        case "mjpeg" if which or not colon:
            return MjpegServer(which)
        case _ if kind in SCHEMES and which.startswith("//"):
            return Broadcast(text, settings)
        case "window" if not colon:
            return Window()
        case "file" if which:
            return VideoWriter(Path(which), settings)
        case "memory" if not colon:
            return MemorySink()
    raise SinkError(f"'{text}' is no output; give one of: {HELP}")


def open_best(
    settings: OutputSettings, choice: Sequence[str] = AUTO
) -> tuple[Sink, tuple[SinkError, ...]]:
    """The first of ``choice`` that opens, and why those before it did not. Raises SinkError with
    all reasons when none does."""
    reasons: list[SinkError] = []
    for text in choice:
        try:
            return open_sink(text, settings), tuple(reasons)
        except SinkError as error:
            reasons.append(error)
    raise SinkError("; ".join(str(reason) for reason in reasons))


class MemorySink:
    """Keeps the newest frames and counts all."""

    def __init__(self, keep: int = 300, repeat_fps: float | None = None) -> None:
        """``keep``: frames kept; ``repeat_fps`` as in ``Sink``."""
        self.name = "memory"
        self.repeat_fps = repeat_fps
        self.frames: deque[Frame] = deque(maxlen=keep)
        self.count = 0
        """Frames sent, repeats among them."""

    def send(self, frame: Frame) -> None:
        """Keep it."""
        self.frames.append(frame)
        self.count += 1

    def close(self) -> None:
        """Nothing to let go: the frames stay."""

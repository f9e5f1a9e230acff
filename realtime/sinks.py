"""Where finished frames go: which output a text names, and what every output promises.

A sink says by ``repeat_fps`` how often its own clock wants a frame; the pipeline gives it each new
frame at once and the last one again when that clock is due. A file's clock is that of the frames'
``captured_at``: it fills its own gaps.
"""

from collections import deque
from pathlib import Path
from typing import Protocol

from config.errors import SinkError
from config.schema import OutputSettings
from realtime.frame import Frame
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


def open_sink(text: str, settings: OutputSettings) -> Sink:
    """Open ``virtualcam``, ``virtualcam:DEVICE``, ``window``, ``file:NAME.mp4`` or ``memory``.

    Raises SinkError.
    """
    kind, colon, which = text.partition(":")
    match kind:
        case "virtualcam" if which or not colon:
            return VirtualCamera(settings, which or None)
        case "window" if not colon:
            return Window()
        case "file" if which:
            return VideoWriter(Path(which), settings)
        case "memory" if not colon:
            return MemorySink()
    raise SinkError(
        f"'{text}' is no output; give virtualcam, virtualcam:/dev/video4, window or file:NAME.mp4"
    )


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

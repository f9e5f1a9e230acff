"""Where finished frames go: virtual camera, window, video file, memory.

A sink says by ``repeat_fps`` how often its own clock wants a frame; the pipeline gives it each new
frame at once and the last one again when that clock is due. A file's clock is that of the frames'
``captured_at``: it fills its own gaps.
"""

import contextlib
import errno
import logging
import os
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import cv2

from config.errors import SinkError
from config.schema import OutputSettings
from realtime.frame import Frame, Image

_log = logging.getLogger(__name__)

MODPROBE = "sudo modprobe v4l2loopback devices=1 exclusive_caps=1 card_label=puppetcam"
"""The line that makes a virtual camera on Linux."""

_LONGEST_GAP_S = 10.0
"""A longer gap between two frames is left out of a recording."""


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


class VirtualCamera:
    """A camera that other programs can choose, through pyvirtualcam. Opened once and held: a
    v4l2loopback device takes one writer per load of its module."""

    def __init__(self, settings: OutputSettings, device: str | None = None) -> None:
        """``device``: e.g. "/dev/video4"; None: the first that any back end offers."""
        import pyvirtualcam

        try:
            self._camera = pyvirtualcam.Camera(
                settings.width, settings.height, settings.fps, device=device
            )
        except RuntimeError as error:
            asked = f"virtualcam:{device}" if device else "virtualcam"
            reasons = "; ".join(str(error).splitlines())
            raise SinkError(
                f"{asked} cannot be opened ({reasons}); {virtualcam_advice()}"
            ) from error
        self.name = f"virtualcam ({self._camera.device})"
        self.repeat_fps: float | None = settings.fps
        self._open = True

    def send(self, frame: Frame) -> None:
        """Hand the picture to the device. Raises SinkError."""
        try:
            self._camera.send(frame.image)
        except (RuntimeError, OSError, ValueError) as error:
            raise SinkError(f"{self.name} took no picture: {error}") from error

    def close(self) -> None:
        """Take the camera away; twice is fine."""
        if self._open:
            self._open = False
            self._camera.close()


def virtualcam_advice(
    platform: str = sys.platform, module: Path = Path("/sys/module/v4l2loopback")
) -> str:
    """What to do when no virtual camera can be opened, on this system."""
    if platform == "win32":
        return "install OBS Studio (obsproject.com), start its virtual camera once, and try again"
    if platform == "darwin":
        return (
            "install OBS Studio 30 or newer (obsproject.com), start its virtual camera once, "
            "allow it in the system settings, and try again"
        )
    if module.exists():
        return (
            "v4l2loopback is loaded but free for one writer only: close the program that writes "
            f"to it, then 'sudo modprobe -r v4l2loopback && {MODPROBE}'"
        )
    return (
        f"install v4l2loopback-dkms and run '{MODPROBE}' "
        "(with Secure Boot its key must be enrolled first: 'sudo mokutil --import')"
    )


class Window:
    """The output in a window, and in a second one, for the driver's eyes only, the camera's view.

    Keys work while one of the two has the focus. To be used by the main thread (macOS insists).
    """

    OUTPUT = "puppetcam: output"
    PREVIEW = "puppetcam: your camera (private, never sent)"

    def __init__(self) -> None:
        """Opens the output window. Raises SinkError where there is no display."""
        _check_display()
        self.name = "window"
        self.repeat_fps: float | None = None
        self.info: Sequence[str] = ()
        """Lines drawn over the output, in this window only."""
        self._keys: deque[int] = deque(maxlen=32)
        self._shown: set[str] = set()

    def send(self, frame: Frame) -> None:
        """Show the output."""
        self._show(self.OUTPUT, draw_lines(frame.image, self.info))
        self._pump()

    def preview(self, image: Image, lines: Sequence[str] = ()) -> None:
        """Show the driver's private view, (h, w, 3) uint8 RGB, with text over it; it appears with
        the next ``send`` or ``pressed``."""
        self._show(self.PREVIEW, draw_lines(image, lines))

    def pressed(self) -> list[int]:
        """Keys pressed since the last call, as character codes; keeps the windows alive."""
        self._pump()
        keys = list(self._keys)
        self._keys.clear()
        return keys

    @property
    def closed(self) -> bool:
        """True once the user closed one of the windows."""
        return not all(_visible(title) for title in self._shown)

    def close(self) -> None:
        """Take both windows away; twice is fine."""
        for title in self._shown:
            if _visible(title):
                cv2.destroyWindow(title)
        self._shown.clear()

    def _show(self, title: str, image: Image) -> None:
        if title not in self._shown:
            flags = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
            cv2.namedWindow(title, flags)
            cv2.resizeWindow(title, image.shape[1], image.shape[0])
            self._shown.add(title)
        elif not _visible(title):
            return  # closed by the user: imshow would open it again
        cv2.imshow(title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def _pump(self) -> None:
        while (key := cv2.pollKey()) >= 0:
            # Higher bits: 0xFF00 marks keys without a character (the low byte of "up" is an R),
            # those above are states such as num lock.
            if not key & 0xFF00:
                self._keys.append(key & 0xFF)


def _visible(title: str) -> bool:
    try:
        return cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error:  # Qt, once its last window is gone
        return False


def _check_display() -> None:
    """Where no display answers, OpenCV's windows abort the process: look first, in a child."""
    if not sys.platform.startswith("linux"):
        return
    if not os.environ.get("DISPLAY"):
        found = "only Wayland (start XWayland)" if os.environ.get("WAYLAND_DISPLAY") else "none"
        raise SinkError(
            f"window needs a display, found {found}; start puppetcam from a desktop session, "
            "or use virtualcam or file:NAME.mp4"
        )
    trial = "import cv2; cv2.namedWindow('puppetcam'); cv2.waitKey(1)"
    try:
        subprocess.run(
            [sys.executable, "-c", trial], capture_output=True, text=True, timeout=30, check=True
        )
    except subprocess.SubprocessError as error:
        advice = "check that it is this desktop's and that this user may draw on it"
        if "not implemented" in str(getattr(error, "stderr", "")):
            advice = "this OpenCV has no windows: uninstall opencv-python-headless"
        raise SinkError(
            f"no window can be opened on DISPLAY={os.environ['DISPLAY']}; {advice}"
        ) from error


def draw_lines(image: Image, lines: Sequence[str]) -> Image:
    """``image`` with white, dark-edged text at the top left; itself when there is no line."""
    if not lines:
        return image
    drawn = image.copy()
    scale = max(0.35, min(image.shape[:2]) / 900)
    for row, line in enumerate(lines, start=1):
        place = (round(12 * scale), round(36 * scale * row))
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(
                drawn, line, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA
            )
    return drawn


class VideoWriter:
    """An H.264 mp4 of constant rate, timed by the frames' ``captured_at``.

    A gap is filled with the frame before it, frames that come too close are left out. Written in
    fragments of a second: an interrupted recording plays up to its last whole second.
    """

    def __init__(self, path: Path, settings: OutputSettings) -> None:
        """Makes sure that the file can be written; one of that name is replaced by the first
        frame, not before. Raises SinkError."""
        if path.suffix.lower() != ".mp4":
            raise SinkError(f"file:{path} must end in .mp4")
        self._was_there = path.exists()
        try:
            path.open("ab").close()
        except OSError as error:
            raise SinkError(f"file:{path} cannot be written: {error.strerror}") from error
        self.name = f"file:{path}"
        self.repeat_fps: float | None = None
        self._path = path
        self._fps = settings.fps
        self._size = settings.width, settings.height
        self._open = True
        self._started_at: float | None = None
        self._slot = -1
        self._container: Any = None
        self._stream: Any = None
        self._last: Any = None
        self._whole_bytes = 0

    def send(self, frame: Frame) -> None:
        """Write the frame at its time. Raises SinkError, e.g. when the disk is full; what was
        written until then plays."""
        import av

        if not self._open:
            raise SinkError(f"{self.name} is closed")
        if (frame.image.shape[1], frame.image.shape[0]) != self._size:
            raise SinkError(
                f"{self.name} takes pictures of {self._size[0]}x{self._size[1]}, "
                f"got {frame.image.shape[1]}x{frame.image.shape[0]}"
            )
        slot = self._slot_of(frame.captured_at)
        if slot is None:
            return
        try:
            if self._container is None:
                self._start()
            while self._slot + 1 < slot:
                self._write(self._last)
            self._last = av.VideoFrame.from_ndarray(frame.image, format="rgb24")
            self._write(self._last)
        except (av.error.FFmpegError, OSError) as error:
            self._abandon()
            advice = "free some space; " if error.errno == errno.ENOSPC else ""
            raise SinkError(
                f"{self.name} stopped at {self._slot / self._fps:.1f} s: {error.strerror}; "
                f"{advice}what was written until then plays"
            ) from error

    def _start(self) -> None:
        import av

        self._container = av.open(
            str(self._path),
            "w",
            options={
                "movflags": "frag_keyframe+empty_moov+default_base_moof",
                "flush_packets": "1",
            },
        )
        self._stream = self._container.add_stream(
            "libx264",
            rate=Fraction(self._fps).limit_denominator(1001),
            # zerolatency keeps no frames back, which an interruption would lose.
            options={"preset": "veryfast", "tune": "zerolatency", "crf": "20"},
        )
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.gop_size = max(1, round(self._fps))

    def _slot_of(self, captured_at: float) -> int | None:
        """Number of the output frame for this moment; None: too early for another one.

        The next slot takes a frame that is up to 3/4 of an interval off, so that the jitter of a
        camera whose beat lies between two slots makes no double and missing frames.
        """
        if self._started_at is None:
            self._started_at = captured_at
        following = self._slot + 1
        exact = (captured_at - self._started_at) * self._fps
        if exact - following > _LONGEST_GAP_S * self._fps:  # e.g. the machine slept
            self._started_at = captured_at - following / self._fps
            exact = following
        if exact < following - 0.75:
            return None
        return following if exact <= following + 0.75 else round(exact)

    def _write(self, picture: Any) -> None:
        picture.pts = self._slot = self._slot + 1
        for packet in self._stream.encode(picture):
            self._container.mux(packet)
        self._whole_bytes = self._path.stat().st_size

    def _abandon(self) -> None:
        """Cut the file back to the last fragment that was written whole."""
        self._close_container()
        with contextlib.suppress(OSError):  # the error that led here is the one to tell
            os.truncate(self._path, self._whole_bytes)

    def close(self) -> None:
        """Finish the file; without a frame there is none. Twice is fine."""
        import av

        if not self._open:
            return
        if self._container is None:
            self._open = False
            if not self._was_there:
                self._path.unlink(missing_ok=True)
            return
        try:
            for packet in self._stream.encode(None):
                self._container.mux(packet)
        except (av.error.FFmpegError, OSError) as error:
            _log.warning("%s: the last second is lost: %s", self.name, error.strerror)
            self._abandon()
        else:
            self._close_container()

    def _close_container(self) -> None:
        import av

        self._open = False
        try:
            self._container.close()
        except (av.error.FFmpegError, OSError) as error:
            _log.warning("%s: closing: %s", self.name, error.strerror)


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

"""Where driving frames come from: a webcam, a video file, the built-in performer.

OpenCV's BGR becomes RGB here and nowhere else. A webcam's ``captured_at`` is the moment at which
the driver handed the picture over: what the camera itself took before that is not known.
"""

import itertools
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from config.errors import SourceError
from config.schema import CameraSettings
from realtime.frame import Frame, Image

_log = logging.getLogger(__name__)

_RETRY_READ_S = 0.02
"""Pause after a failed read of a camera that is still there, seconds."""


class Source(Protocol):
    """A stream of driving frames. Not thread-safe: one thread reads and closes it."""

    name: str
    width: int
    """Pixels of a frame as it comes, after any rotation that a video file asks for."""
    height: int
    fps: float
    live: bool
    """True: a camera, frames not taken in time are lost. False: a file, every frame counts and the
    caller does the pacing."""

    def read(self) -> Frame | None:
        """Block for the next frame, (height, width, 3) uint8 RGB; None: the stream has ended.

        Raises SourceError when a camera is gone or stalled.
        """
        ...

    def close(self) -> None:
        """Let go of the device or file; twice is fine."""
        ...


def open_source(text: str, settings: CameraSettings) -> Source:
    """Open ``camera:0``, ``camera:"name"``, ``performer``, ``performer:loop`` (the light one, for
    measuring) or the path of a video file.

    ``camera`` alone is ``camera:0``. Raises SourceError.
    """
    if text == "performer":
        from realtime.performer import Performer

        return Performer()
    if text == "performer:loop":
        from realtime.loop import Loop, drawn_pictures

        return Loop(drawn_pictures())
    kind, _, which = text.partition(":")
    if kind == "camera":
        return open_webcam(which or "0", settings)
    return VideoFile(Path(text))


# --- webcams ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """A video device that Linux knows, as found without opening it."""

    index: int
    name: str
    path: str
    """Device node, e.g. "/dev/video0"."""
    serial: str
    """Its stable name under /dev/v4l/by-id, "" where it has none."""
    virtual: bool
    """True: made by software, e.g. v4l2loopback."""


def list_cameras(
    root: Path = Path("/sys/class/video4linux"), by_id: Path = Path("/dev/v4l/by-id")
) -> list[CameraInfo]:
    """Cameras by index, Linux only: elsewhere, and without any, the list is empty.

    Of the several nodes of one camera only the first is listed (the others carry metadata).
    """
    serials = {link.resolve().name: link.name for link in by_id.glob("*")}
    found = []
    for entry in root.glob("video*"):
        number = entry.name.removeprefix("video")
        if not number.isdigit() or _text(entry / "index", "0") != "0":
            continue
        found.append(
            CameraInfo(
                index=int(number),
                name=_text(entry / "name", entry.name),
                path=f"/dev/{entry.name}",
                serial=serials.get(entry.name, ""),
                virtual="/virtual/" in entry.resolve().as_posix(),
            )
        )
    return sorted(found, key=lambda camera: camera.index)


def _text(path: Path, default: str) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return default


def camera_index(which: str, cameras: list[CameraInfo], platform: str = sys.platform) -> int:
    """The index of ``which``: a number, a /dev path, or (on Linux) a name or a part of one.

    An exact name wins over a part; two matches are an error that names them. Raises SourceError.
    """
    wanted = which.strip().strip("\"'").strip()
    number = wanted.removeprefix("/dev/video")
    if number.isdecimal() and len(number) <= 3:
        return int(number)
    if platform != "linux":
        raise SourceError(
            f"camera:{which}: cameras are known by name on Linux only; use an index, e.g. camera:0"
        )
    if not wanted:
        raise SourceError('camera: needs an index or a name, e.g. camera:0 or camera:"Integrated"')
    key = wanted.casefold()
    exact = [c for c in cameras if key in (c.name.casefold(), c.serial.casefold())]
    matches = exact or [c for c in cameras if key in f"{c.name}\n{c.serial}".casefold()]
    if not matches:
        raise SourceError(f"no camera is named '{wanted}'; {_known(cameras)}")
    if len(matches) > 1:
        raise SourceError(f"'{wanted}' fits several cameras; {_known(matches)}: use the index")
    return matches[0].index


def _known(cameras: list[CameraInfo]) -> str:
    if not cameras:
        return "no camera is connected: plug one in, or try the built-in source 'performer'"
    return "found " + ", ".join(f"camera:{c.index} ({c.name})" for c in cameras)


def open_webcam(which: str, settings: CameraSettings) -> "Webcam":
    """A webcam by index or name, tried with one frame. Raises SourceError."""
    cameras = list_cameras()
    index = camera_index(which, cameras)
    name, node, api = f"camera {index}", None, cv2.CAP_ANY
    if sys.platform == "linux":
        api, node = cv2.CAP_V4L2, Path(f"/dev/video{index}")
        name += "".join(f" ({c.name})" for c in cameras if c.index == index)
        if not node.exists():
            raise SourceError(f"there is no {name} ({node}); {_known(cameras)}")
        if not os.access(node, os.R_OK | os.W_OK):
            raise SourceError(
                f"{name}: {node} may not be opened by this user; "
                "run 'sudo usermod -aG video $USER' and log in again"
            )
        # The driver would block 10 s on a camera that went silent.
        stall_s = str(max(1, math.ceil(settings.stall_s)))
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", stall_s)
    elif sys.platform == "win32":
        api = cv2.CAP_DSHOW  # takes MJPG and opens at once; MSMF numbers cameras differently
    elif sys.platform == "darwin":
        api = cv2.CAP_AVFOUNDATION
    capture = cv2.VideoCapture(index, api)
    if not capture.isOpened():
        capture.release()
        raise SourceError(
            f"{name} cannot be opened: it is missing, in use by another program (close that), "
            "or cameras are blocked (allow them in the system's privacy settings)"
        )
    # MJPG first: uncompressed pictures at large sizes come at 5 fps.
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, settings.width)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.height)
    capture.set(cv2.CAP_PROP_FPS, settings.fps)
    webcam = Webcam(capture, name, settings, node)
    try:
        webcam.read()
    except SourceError as error:
        webcam.close()
        raise SourceError(
            f"{name} opens but gives no picture: another program may hold it; close that program "
            "or plug the camera in again"
        ) from error
    return webcam


class Webcam:
    """An opened ``cv2.VideoCapture`` as a live Source; owns it from here on."""

    live = True

    def __init__(
        self,
        capture: cv2.VideoCapture,
        name: str,
        settings: CameraSettings,
        node: Path | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """``node``: the device file, where the system has one; its absence tells an unplug."""
        self.name = name
        self.width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        # Some drivers do not tell their rate.
        self.fps = capture.get(cv2.CAP_PROP_FPS) or settings.fps
        self._capture = capture
        self._node = node
        self._stall_s = settings.stall_s
        self._clock = clock
        self._sleep = sleep
        self._index = 0
        if (self.width, self.height) != (settings.width, settings.height) or (
            abs(self.fps - settings.fps) > 0.5
        ):
            _log.warning(
                "%s gives %dx%d at %g fps, asked for %dx%d at %g",
                name, self.width, self.height, self.fps,
                settings.width, settings.height, settings.fps,
            )  # fmt: skip

    def read(self) -> Frame:
        """The next picture. A failed read means one of four things, told apart by what is there:
        closed or never opened, unplugged (the node is gone), stalled (``stall_s`` has passed), or
        one spoilt picture (read again)."""
        started = self._clock()
        while True:
            grabbed = self._capture.grab()
            captured_at = self._clock()
            if grabbed:
                decoded, image = self._capture.retrieve()
                if decoded:
                    self._index += 1
                    rgb: Image = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
                    return Frame(rgb, captured_at, self._index - 1)
            if not self._capture.isOpened():
                raise SourceError(f"{self.name} is closed")
            if self._node is not None and not self._node.exists():
                raise SourceError(f"{self.name} was unplugged: {self._node} is gone; plug it in")
            silent_s = captured_at - started
            if silent_s >= self._stall_s:
                raise SourceError(f"{self.name} gave no picture for {silent_s:.1f} s")
            self._sleep(_RETRY_READ_S)

    def close(self) -> None:
        """Release the device; twice is fine."""
        self._capture.release()


# --- video files --------------------------------------------------------------------------------


class VideoFile:
    """A video file as a Source: its frames once, upright, with its own timing.

    ``captured_at`` is the moment of the first ``read`` plus the frame's own time stamp, strictly
    increasing: time-based smoothing sees the film's time, however fast the caller reads. A damaged
    stretch is skipped and told once.
    """

    live = False

    def __init__(self, path: Path, clock: Callable[[], float] = time.perf_counter) -> None:
        """Opens and decodes the first frame. Raises SourceError."""
        import av
        from av.stream import Disposition

        if not path.is_file():
            found = "is a folder" if path.is_dir() else "does not exist"
            raise SourceError(
                f"source '{path}' {found}; give camera:0, camera:\"name\", performer, "
                "or the path of a video file"
            )
        if path.stat().st_size == 0:
            raise SourceError(f"video {path} is empty (0 bytes); copy or record it again")
        try:
            self._container: Any = av.open(str(path))
        except (av.error.FFmpegError, OSError) as error:
            raise SourceError(f"{path} is not a readable video: {_reason(error)}") from error
        # A song's cover is a video stream of one picture.
        streams = [
            stream
            for stream in self._container.streams.video
            if not stream.disposition & Disposition.attached_pic
        ]
        if not streams:
            self._container.close()
            raise SourceError(f"{path} has no pictures (sound only?); give a video file")
        self._stream = streams[0]
        self._stream.thread_type = "AUTO"
        self._clock = clock
        self._started: float | None = None
        self._first_s: float | None = None
        self._last_s = -math.inf
        self._count = 0
        self._damaged = False
        self.name = path.name
        self.fps = float(self._stream.average_rate or self._stream.guessed_rate or 25)
        pictures = self._decode()
        first = next(pictures, None)
        if first is None:
            self.close()
            raise SourceError(f"{path} holds no picture that can be decoded; it may be damaged")
        self.height, self.width = first[0].shape[:2]
        self._pictures: Iterator[tuple[Image, float]] = itertools.chain([first], pictures)

    def read(self) -> Frame | None:
        """The next frame; None at the end."""
        picture = next(self._pictures, None)
        if picture is None:
            return None
        if self._started is None:
            self._started = self._clock()
        image, time_s = picture
        self._count += 1
        return Frame(image, self._started + time_s, self._count - 1)

    def _decode(self) -> Iterator[tuple[Image, float]]:
        """(picture, seconds since the first) of every frame that can be decoded."""
        import av

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
                pictures = packet.decode() if packet is not None else ()
            except (av.error.FFmpegError, OSError) as error:
                if not self._damaged:
                    at_s = max(self._last_s, 0.0)
                    _log.warning("%s is damaged at %.1f s: %s", self.name, at_s, _reason(error))
                    self._damaged = True
                continue
            if packet is None:
                return
            for picture in pictures:
                yield self._upright(picture), self._time_s(picture.time)

    def _upright(self, picture: Any) -> Image:
        image: Image = picture.to_ndarray(format="rgb24")
        quarter_turns = round(picture.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image

    def _time_s(self, stamp_s: float | None) -> float:
        if self._first_s is None:
            self._first_s = stamp_s or 0.0
            self._last_s = 0.0
            return 0.0
        time_s = self._last_s + 1 / self.fps if stamp_s is None else stamp_s - self._first_s
        if time_s <= self._last_s:  # time stamps that stand still or jump back
            time_s = self._last_s + 1 / self.fps
        self._last_s = time_s
        return time_s

    def close(self) -> None:
        """Close the file; twice is fine."""
        self._pictures = iter(())
        self._container.close()


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)

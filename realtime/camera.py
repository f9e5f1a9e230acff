"""Where driving frames come from: a webcam, a stream, a film, a folder, the built-in performer.

OpenCV's BGR becomes RGB here and nowhere else. A webcam's ``captured_at`` is the moment at which
the driver handed the picture over: what the camera itself took before that is not known.
"""

import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from config.errors import SourceError
from config.schema import CameraSettings
from realtime.choice import recall
from realtime.devices import CameraInfo, User, choose, find_again, first_of, known, list_cameras
from realtime.frame import Frame, Image
from realtime.watched import Watched

_log = logging.getLogger(__name__)

FIRST_PICTURE_S = 5.0
"""Longest wait for a camera's first picture: some take seconds to wake."""
VIDEO_GROUP = "run 'sudo usermod -aG video $USER', then log out and in again"
"""What gives a user the right to cameras on Linux."""
MOST_HUNG = 4
"""Threads that a driver may keep before the camera is not opened again."""
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
    """Open a source once, see ``source_opener``. Raises SourceError."""
    return source_opener(text, settings)()


def source_opener(text: str, settings: CameraSettings) -> Callable[[], Source]:
    """Opens, as often as it is called, what ``text`` means; the calls raise SourceError.

    ``camera`` (the one chosen last), ``camera:0``, ``camera:"name"``, ``camera:/dev/...``,
    ``performer``, ``performer:loop`` (the light one, for measuring), an address (``rtsp://...``),
    a folder of pictures, or the path of a video file.
    """
    kind, _, which = text.partition(":")
    if kind == "camera":
        return CameraOpener(which if ":" in text else None, settings)
    if text == "performer":
        from realtime.performer import Performer

        return Performer
    if text == "performer:loop":
        from realtime.loop import Loop, drawn_pictures

        return lambda: Loop(drawn_pictures())
    from realtime.stream import is_address, open_stream
    from realtime.video import PictureFolder, VideoFile

    if is_address(text):
        return lambda: open_stream(text, settings)
    path = Path(text)
    return lambda: PictureFolder(path, settings.fps) if path.is_dir() else VideoFile(path)


# --- webcams ------------------------------------------------------------------------------------


class CameraOpener:
    """Opens a camera, and after a loss the same one again, whatever its number is then."""

    def __init__(self, which: str | None, settings: CameraSettings) -> None:
        """``which``: as in ``camera:WHICH``; None: the camera chosen last, else the first one."""
        self._which = which
        self._settings = settings
        self.camera: CameraInfo | None = None
        """The camera, once it was opened."""
        self._threads: list[threading.Thread] = []

    def __call__(self) -> "Watched":
        """The camera, opened and giving pictures. Raises SourceError."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) >= MOST_HUNG:
            raise SourceError("the camera's driver hangs; plug the camera in again")
        return Watched(self._open, self._settings.stall_s, self._threads.append)

    def _open(self) -> "Webcam":
        cameras = list_cameras()
        if self.camera is None:
            camera = self._chosen(cameras)
        elif not self.camera.name:  # the system does not list its cameras
            camera = self.camera
        else:
            found = find_again(self.camera, cameras)
            if found is None:
                raise SourceError(f"{title(self.camera)} is not connected; {known(cameras)}")
            camera = found
        webcam = open_webcam(camera, self._settings)
        self.camera = camera
        return webcam

    def _chosen(self, cameras: list[CameraInfo]) -> CameraInfo:
        listed = bool(cameras) or sys.platform == "linux"
        if self._which is not None:
            return choose(self._which, cameras, listed)
        if not listed:
            return choose("0", cameras, listed)
        before = recall()
        again = find_again(before, cameras) if before else None
        if again is None:
            again = first_of(cameras)
            if before:
                _log.warning(
                    "the camera chosen last, %s, is not connected; taking %s instead",
                    before.name, title(again),
                )  # fmt: skip
        return again


def title(camera: CameraInfo) -> str:
    """A camera for messages: "camera 0 (C920)"."""
    return f"camera {camera.index}" + (f" ({camera.name})" if camera.name else "")


def open_webcam(camera: CameraInfo, settings: CameraSettings) -> "Webcam":
    """A camera, tried with one picture. Raises SourceError."""
    node = Path(camera.path) if camera.path else None
    if node is not None:
        _check(camera, node)
    api = cv2.CAP_ANY
    if sys.platform == "linux":
        api = cv2.CAP_V4L2
        # The driver would block 10 s on a camera that went silent.
        stall_s = str(max(1, math.ceil(settings.stall_s)))
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", stall_s)
    elif sys.platform == "win32":
        api = cv2.CAP_DSHOW  # takes MJPG and opens at once; MSMF numbers cameras differently
    elif sys.platform == "darwin":
        api = cv2.CAP_AVFOUNDATION
    capture = cv2.VideoCapture(camera.index, api)
    if not capture.isOpened():
        capture.release()
        raise SourceError(f"{title(camera)} cannot be opened: {why_not(camera)}")
    # MJPG first: uncompressed pictures at large sizes come at 5 fps.
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, settings.width)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.height)
    capture.set(cv2.CAP_PROP_FPS, settings.fps)
    webcam = Webcam(capture, title(camera), settings, node)
    try:
        webcam.read(FIRST_PICTURE_S)
    except SourceError as error:
        webcam.close()
        raise SourceError(
            f"{title(camera)} opens but gives no picture: {why_not(camera)}"
        ) from error
    return webcam


def _check(camera: CameraInfo, node: Path) -> None:
    """Raises SourceError where ``node`` is missing or forbidden."""
    if not node.exists():
        raise SourceError(f"{title(camera)} was unplugged: {node} is gone; plug it in")
    if not os.access(node, os.R_OK | os.W_OK):
        raise SourceError(f"{title(camera)}: {node} may not be opened by this user; {VIDEO_GROUP}")


def in_use(users: tuple[User, ...]) -> str:
    """Programs for messages: "firefox (4242), obs (99)"."""
    return ", ".join(f"{user.name} ({user.pid})" if user.pid else user.name for user in users)


def why_not(camera: CameraInfo) -> str:
    """Why a camera that is there does not work, as far as the system tells, and what to do."""
    if sys.platform == "win32":
        from realtime.directshow import consent, denied, using

        record = consent()
        if denied(record):
            return (
                "Windows blocks cameras; allow them in Settings > Privacy & security > Camera, "
                "for desktop apps too"
            )
        users = using(record)
    elif sys.platform == "linux":
        from realtime.v4l2 import users as users_of

        users = users_of(Path(camera.path)) if camera.path else ()
    else:
        users = ()
    if users:
        return f"it is in use by {in_use(users)}; close it there, or take another camera"
    if camera.virtual and not camera.fed:
        return "it is a virtual camera to which nothing sends; start the program that feeds it"
    if sys.platform == "darwin":
        from realtime.avfoundation import PRIVACY_FIX

        return f"macOS blocks it, or another program uses it; {PRIVACY_FIX}"
    return "another program may hold it; close that, or plug the camera in again"


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
                "%s gives %dx%d at %g fps in %s, asked for %dx%d at %g in MJPG; "
                "'puppetcam cameras' lists what it can",
                name, self.width, self.height, self.fps, _letters(capture),
                settings.width, settings.height, settings.fps,
            )  # fmt: skip

    def read(self, patience_s: float | None = None) -> Frame:
        """The next picture. A failed read means one of four things, told apart by what is there:
        closed or never opened, unplugged (the node is gone), stalled (``patience_s``, by default
        ``stall_s``, has passed), or one spoilt picture (read again)."""
        patience_s = self._stall_s if patience_s is None else patience_s
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
            if silent_s >= patience_s:
                raise SourceError(f"{self.name} gave no picture for {silent_s:.1f} s")
            self._sleep(_RETRY_READ_S)

    def close(self) -> None:
        """Release the device; twice is fine."""
        self._capture.release()


def _letters(capture: cv2.VideoCapture) -> str:
    """The pixel format that the driver really gives, e.g. "YUYV"."""
    number = int(capture.get(cv2.CAP_PROP_FOURCC))
    letters = "".join(chr(number >> shift & 0xFF) for shift in (0, 8, 16, 24))
    return letters if letters.isprintable() and number > 0 else "its own format"

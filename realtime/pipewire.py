"""A camera in PipeWire: on Linux, without a kernel module, for browsers and OBS.

GStreamer makes it, as a program of its own. It does not know who looks: a program that wants
``/dev/video*`` (Zoom, Teams) does not see it; that takes v4l2loopback.
"""

import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from config.errors import SinkError
from config.schema import OutputSettings
from realtime.child import Child
from realtime.frame import Frame, fitted
from realtime.relay import Relay

NAME = "puppetcam"
"""What the camera is called."""
PACKAGES = "gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-pipewire"
"""The Debian packages that make it."""
_START = "sudo apt install pipewire wireplumber, then systemctl --user start pipewire wireplumber"
_OPEN_S = 5.0
"""Longest wait for GStreamer to start."""
_GREY = 24
"""Brightness of the picture before the first one."""


class PipeWireCamera:
    """The camera "puppetcam" of this user's session. When PipeWire is restarted it comes back."""

    def __init__(self, settings: OutputSettings) -> None:
        """Opens it. Raises SinkError."""
        self.name = f"pipewire ({NAME})"
        self.repeat_fps: float | None = settings.fps
        self._settings = settings
        self._relay = Relay(self.name, self._open, self._open())

    def send(self, frame: Frame) -> None:
        """Hand on the newest picture, at once."""
        self._relay.send(frame)

    def close(self) -> None:
        """Take the camera away; twice is fine."""
        self._relay.close()

    def _open(self) -> "_Camera":
        return _Camera(self._settings)


class _Camera:
    """GStreamer, started, with the camera there."""

    def __init__(self, settings: OutputSettings) -> None:
        self._size = settings.width, settings.height
        self._daemon = _Daemon(check_session())
        try:
            self._child = Child(command(settings))
        except SinkError as error:
            self._daemon.close()
            raise _failed(error) from error
        try:
            # Before GStreamer has a picture it makes no camera.
            self._child.write(np.full((settings.height, settings.width, 3), _GREY, np.uint8))
            ends_at = time.perf_counter() + _OPEN_S
            while "PLAYING" not in self._child.said():
                if not self._child.running or time.perf_counter() > ends_at:
                    raise SinkError(self._child.complaint())
                time.sleep(0.01)
        except SinkError as error:
            self.close()
            raise _failed(error) from error

    def write(self, frame: Frame) -> None:
        if not self._daemon.runs:
            raise SinkError("pipewire: PipeWire has ended, and the camera with it")
        self._child.write(np.ascontiguousarray(fitted(frame.image, *self._size)))

    def abort(self) -> None:
        self._child.close()

    def close(self) -> None:
        self._child.close()
        self._daemon.close()


class _Daemon:
    """Whether PipeWire runs: GStreamer goes on without a word when it ends. A connection that asks
    for nothing."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise SinkError(
                f"pipewire: {path} does not answer ({error.strerror}); {_START}"
            ) from error

    @property
    def runs(self) -> bool:
        try:
            return self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True  # it has said nothing
        except OSError:
            return False

    def close(self) -> None:
        self._socket.close()


def _failed(error: SinkError) -> SinkError:
    return SinkError(
        f"pipewire: GStreamer makes no camera ({error}); sudo apt install {PACKAGES}, "
        "and see 'puppetcam doctor'"
    )


def check_session(
    environment: Mapping[str, str] = os.environ, platform: str = sys.platform
) -> Path:
    """The socket of this user's PipeWire. Raises SinkError where there is none."""
    if not platform.startswith("linux"):
        raise SinkError(f"pipewire: PipeWire is a part of Linux, this is {platform}")
    folder = environment.get("PIPEWIRE_RUNTIME_DIR") or environment.get("XDG_RUNTIME_DIR")
    if not folder:
        raise SinkError(
            "pipewire: XDG_RUNTIME_DIR is not set; start puppetcam from the desktop session"
        )
    path = Path(folder) / environment.get("PIPEWIRE_REMOTE", "pipewire-0")
    if not path.exists():
        raise SinkError(f"pipewire: PipeWire does not run (no {path}); {_START}")
    return path


def command(settings: OutputSettings) -> list[str]:
    """GStreamer's, that takes raw pictures (height, width, 3) uint8 RGB from its input."""
    width, height = settings.width, settings.height
    properties = {
        "media.class": "Video/Source",
        "media.role": "Camera",
        "node.name": NAME,
        "node.description": NAME,
    }
    stages = [
        f"fdsrc fd=0 blocksize={width * height * 3}",
        f"rawvideoparse format=rgb width={width} height={height} "
        f"framerate={round(1000 * settings.fps)}/1000",
        # The newest picture only.
        "queue leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0",
        "videoconvert",
        "video/x-raw,format=YUY2,colorimetry=bt601",
        # Else pipewiresink 0.3.65 crashes.
        "identity drop-allocation=true",
        # Not by the times of the pictures: those come as they are made.
        "pipewiresink mode=provide sync=false stream-properties=p,"
        + ",".join(f"{key}={value}" for key, value in properties.items()),
    ]
    return ["gst-launch-1.0", *" ! ".join(stages).split()]

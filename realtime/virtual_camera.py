"""A camera for other programs, through pyvirtualcam: v4l2loopback, OBS, UnityCapture."""

import sys
from pathlib import Path

from config.errors import SinkError
from config.schema import OutputSettings
from realtime.frame import Frame

MODPROBE = "sudo modprobe v4l2loopback devices=1 exclusive_caps=1 card_label=puppetcam"
"""The line that makes a virtual camera on Linux."""


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

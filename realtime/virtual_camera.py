"""A camera for other programs, through pyvirtualcam: v4l2loopback, OBS, UnityCapture."""

import sys

from config.errors import SinkError
from config.schema import OutputSettings
from realtime import loopback
from realtime.frame import Frame, fitted


class VirtualCamera:
    """Opened once and held as it is, whatever changes behind it: a v4l2loopback device may take
    one writer per load of its module."""

    def __init__(self, settings: OutputSettings, device: str | None = None) -> None:
        """``device``: e.g. "/dev/video4"; None: the first that any back end offers."""
        import pyvirtualcam

        try:
            self._camera = pyvirtualcam.Camera(
                settings.width, settings.height, settings.fps, device=device
            )
        except RuntimeError as error:
            asked = f"virtualcam:{device}" if device else "virtualcam"
            cause, fix = advice(device)
            reasons = "; ".join(str(error).splitlines())
            raise SinkError(f"{asked} cannot be opened: {cause or reasons}; {fix}") from error
        self.name = f"virtualcam ({self._camera.device})"
        self.repeat_fps: float | None = settings.fps
        self._open = True

    def send(self, frame: Frame) -> None:
        """Hand the picture to the device; one of another size is fitted in. Raises SinkError."""
        camera = self._camera
        try:
            camera.send(fitted(frame.image, camera.width, camera.height))
        except (RuntimeError, OSError, ValueError) as error:
            raise SinkError(f"{self.name} took no picture: {error}") from error

    def close(self) -> None:
        """Take the camera away; twice is fine."""
        if self._open:
            self._open = False
            self._camera.close()


def advice(device: str | None = None, platform: str = sys.platform) -> tuple[str, str]:
    """(why no virtual camera opens, "" where the system does not tell; what to do)."""
    if platform == "win32":
        return "", (
            "install OBS Studio (obsproject.com), start its virtual camera, stop it again (while "
            "OBS sends nobody else can), and try again"
        )
    if platform == "darwin":
        return "", (
            "install OBS Studio 30 or newer (obsproject.com), start its virtual camera, allow it "
            "in the system settings, stop it again (while OBS sends nobody else can), try again"
        )
    return loopback.trouble(loopback.look(), device) or (
        "",
        f"close the programs that use it, then {loopback.RELOAD}",
    )

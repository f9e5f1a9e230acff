"""The camera that the user chose last, kept by name: numbers change with every plug."""

import json
import logging
import os

from config.folders import state_folder
from realtime.devices import CameraInfo

_log = logging.getLogger(__name__)


def remember(camera: CameraInfo) -> None:
    """Take this camera from now on where none is named. Failing is told: nothing else stops."""
    if not camera.name:
        return  # a number alone means nothing tomorrow
    path = state_folder() / "camera.json"
    kept = {"name": camera.name, "serial": camera.serial, "port": camera.port}
    aside = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        _log.warning("the choice of the camera cannot be kept: %s: %s", path, error.strerror)


def recall() -> CameraInfo | None:
    """The camera chosen last, its number unknown (-1); None: none was, or the file is damaged."""
    path = state_folder() / "camera.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        name, serial, port = (str(kept[key]) for key in ("name", "serial", "port"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        _log.warning("%s cannot be read: no camera is remembered", path)
        return None
    return CameraInfo(-1, name, serial=serial, port=port)

"""Cameras on macOS: the system's own report, which needs no right to use them.

OpenCV numbers AVFoundation's cameras by their unique IDs in order. Written from the documentation
and from recorded reports; it has not been run on macOS by us.
"""

import json
import subprocess

from realtime.devices import CameraInfo

PRIVACY_FIX = (
    "allow your terminal in System Settings > Privacy & Security > Camera, then quit the terminal "
    "and start it again"
)
_TIMEOUT_S = 10.0


def cameras_here() -> list[CameraInfo]:
    """This machine's cameras; empty where the report cannot be had. Sizes are not in it."""
    command = ["/usr/sbin/system_profiler", "SPCameraDataType", "-json"]
    try:
        report = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=True)
        return cameras_of(report.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def cameras_of(report: str | bytes) -> list[CameraInfo]:
    """From the JSON of ``system_profiler SPCameraDataType -json``. Raises ValueError."""
    found = json.loads(report)
    entries = found.get("SPCameraDataType", []) if isinstance(found, dict) else []
    cameras = sorted(
        (str(entry.get("spcamera_unique-id", "")), str(entry.get("_name", "camera")))
        for entry in entries
    )
    return [
        CameraInfo(number, name, serial=serial, virtual="virtual" in name.casefold())
        for number, (serial, name) in enumerate(cameras)
    ]

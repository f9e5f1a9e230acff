"""Cameras on Windows: DirectShow's list through PyAV, and the system's own record of who may use a
camera and who does.

OpenCV numbers DirectShow's cameras in the same order. Written from the documentation and from
recorded listings; it has not been run on Windows by us.
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from realtime.devices import CameraInfo, Mode, User

CONSENT = r"Software\Microsoft\Windows\CurrentVersion\CapabilityAccessManager\ConsentStore\webcam"
"""Registry key: who may use cameras and when each program last did."""
_AUDIO = "{33D9A762-90C8-11D0-BD43-00A0C911CE86}"
"""Class of microphones, which the list has as well."""
_LETTERS = {"mjpeg": "MJPG", "yuyv422": "YUYV", "uyvy422": "UYVY", "nv12": "NV12", "h264": "H264"}
_MODE = re.compile(
    r"(?:vcodec|pixel_format)=(\w+)\s+min s=(\d+)x(\d+) fps=([\d.]+) max s=(\d+)x(\d+) fps=([\d.]+)"
)


class Device(Protocol):
    """``av.device.DeviceInfo``."""

    name: str
    """Its path, e.g. "@device_pnp_\\\\?\\usb#vid_046d&..."; of software "@device_sw_..."."""
    description: str
    """What people call it."""
    media_types: list[str]


def cameras_here(detailed: bool) -> list[CameraInfo]:
    """This machine's cameras; empty where this PyAV cannot list them."""
    try:
        from av.device import enumerate_input_devices

        devices = enumerate_input_devices("dshow")
    except (ImportError, ValueError, OSError):
        return []
    users = using(consent()) if detailed else ()
    return [
        CameraInfo(
            index=camera.index,
            name=camera.name,
            serial=camera.serial,
            virtual=camera.virtual,
            modes=parse_modes(_options(camera)) if detailed else (),
            users=users,
        )
        for camera in cameras_of(devices)
    ]


def cameras_of(devices: Iterable[Device]) -> list[CameraInfo]:
    """Cameras among DirectShow's devices, numbered in their order."""
    # A camera that nobody feeds, as OBS's, has no media type; a microphone is known by its class.
    cameras = [
        one for one in devices if _AUDIO not in one.name.upper() and one.media_types != ["audio"]
    ]
    return [
        CameraInfo(
            number, one.description, serial=one.name, virtual=not one.name.startswith("@device_pnp")
        )
        for number, one in enumerate(cameras)
    ]


def _options(camera: CameraInfo) -> str:
    """FFmpeg's list of what the camera can, which it writes to its log."""
    import av
    from av import logging as av_logging

    before = av_logging.get_level()
    av_logging.set_level(av_logging.INFO)
    try:
        # It lists, and opens nothing.
        with av_logging.Capture() as lines, suppress(av.error.FFmpegError, OSError):
            av.open(f"video={camera.serial}", format="dshow", options={"list_options": "true"})
        return "".join(text for _, _, text in lines)
    finally:
        av_logging.set_level(before)


def parse_modes(text: str) -> tuple[Mode, ...]:
    """From the log of FFmpeg's ``list_options``; each mode once."""
    found: dict[Mode, None] = {}  # in order, each once
    for letters, *numbers in _MODE.findall(text):
        width, height, most_width, most_height = (int(numbers[n]) for n in (0, 1, 3, 4))
        fps = tuple(sorted({float(numbers[5]), float(numbers[2])}, reverse=True))
        mode = Mode(_LETTERS.get(letters, letters), width, height, most_width, most_height, fps)
        found[mode] = None
    return tuple(found)


def consent() -> dict[str, Any]:
    """The registry's record, keys as dictionaries; {} elsewhere than on Windows."""
    try:
        import winreg
    except ImportError:
        return {}

    def read(path: str) -> dict[str, Any]:
        try:
            with winreg.OpenKey(winreg.HKEY_CURRENT_USER, path) as key:  # type: ignore[attr-defined]
                keys, values, _ = winreg.QueryInfoKey(key)  # type: ignore[attr-defined]
                names = [winreg.EnumKey(key, n) for n in range(keys)]  # type: ignore[attr-defined]
                found = dict(
                    winreg.EnumValue(key, n)[:2]  # type: ignore[attr-defined]
                    for n in range(values)
                )
        except OSError:
            return {}
        return {**found, **{name: read(f"{path}\\{name}") for name in names}}

    return read(CONSENT)


def denied(record: Mapping[str, Any]) -> bool:
    """True: cameras are switched off, for all programs or for those not from the store."""
    outside = record.get("NonPackaged", {})
    return "Deny" in (record.get("Value"), outside.get("Value"))


def using(record: Mapping[str, Any]) -> tuple[User, ...]:
    """Programs that use a camera now: any camera, Windows does not record which."""
    programs = {name: one for name, one in record.items() if isinstance(one, Mapping)}
    programs |= {name: one for name, one in programs.pop("NonPackaged", {}).items()
                 if isinstance(one, Mapping)}  # fmt: skip
    return tuple(
        User(0, name.rpartition("#")[2])  # "C:#Program Files#Zoom#bin#Zoom.exe"
        for name, one in sorted(programs.items())
        if one.get("LastUsedTimeStart") and one.get("LastUsedTimeStop") == 0
    )

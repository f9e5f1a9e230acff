"""Which cameras there are, and which of them is meant by a number, a name, a path or by habit.

Linux tells most: ``realtime.v4l2``. Windows and macOS tell names, in the order in which OpenCV
numbers them there: ``realtime.directshow``, ``realtime.avfoundation``.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from config.errors import SourceError


@dataclass(frozen=True, slots=True)
class Mode:
    """A pixel format in one size, or in a range of sizes."""

    letters: str
    """Four letters as V4L2 has them, e.g. "MJPG", "YUYV"; elsewhere the system's word."""
    least_width: int
    """Pixels; the same as ``width`` where there is no range."""
    least_height: int
    width: int
    height: int
    fps: tuple[float, ...]
    """Frames per second, highest first; of a range its ends. () where it is not told."""


@dataclass(frozen=True, slots=True)
class User:
    """A program that has a camera open."""

    pid: int
    """0 where the system does not tell it."""
    name: str


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """A camera as found without taking a picture."""

    index: int
    """The number by which OpenCV opens it."""
    name: str
    path: str = ""
    """Device node, e.g. "/dev/video0"; "" where there is none."""
    serial: str = ""
    """What stays the same when it is plugged in elsewhere: the name under /dev/v4l/by-id, the
    device path of DirectShow, the unique ID of AVFoundation. "" where there is none."""
    port: str = ""
    """Where it is plugged in: the name under /dev/v4l/by-path, "" where there is none."""
    virtual: bool = False
    """True: made by software, e.g. v4l2loopback, OBS."""
    fed: bool = True
    """False: a virtual camera to which no program sends at the moment."""
    allowed: bool = True
    """False: this user may not open it."""
    driver: str = ""
    modes: tuple[Mode, ...] = ()
    users: tuple[User, ...] = ()


def list_cameras(detailed: bool = False) -> list[CameraInfo]:
    """Cameras by index, empty where there are none or the system does not tell.

    ``detailed``: with what each can and who uses it; on Windows that opens each for a moment.
    """
    if sys.platform == "linux":
        return linux_cameras(detailed)
    if sys.platform == "win32":
        from realtime import directshow

        return directshow.cameras_here(detailed)
    if sys.platform == "darwin":
        from realtime import avfoundation

        return avfoundation.cameras_here()
    return []


def linux_cameras(
    detailed: bool = False,
    root: Path = Path("/sys/class/video4linux"),
    links: Path = Path("/dev/v4l"),
    dev: Path = Path("/dev"),
) -> list[CameraInfo]:
    """Capture devices and virtual cameras; a camera's other nodes, which carry metadata, encoders
    and outputs are left out."""
    from realtime import v4l2

    serials, ports = _links(links / "by-id"), _links(links / "by-path")
    found = []
    for entry in root.glob("video*"):
        number = entry.name.removeprefix("video")
        if not number.isdigit():
            continue
        node = dev / entry.name
        virtual = "/virtual/" in entry.resolve().as_posix()
        driver, fed = "", True
        modes: tuple[Mode, ...] = ()
        try:
            said, modes = v4l2.query(node)
        except OSError:
            # Not to be asked. The first node of a camera is the one with its pictures.
            if _text(entry / "index", "0") != "0":
                continue
        else:
            driver, fed = said.driver, bool(said.caps & v4l2.CAPTURE)
            if not fed and not (virtual and said.caps & v4l2.OUTPUT):
                continue
        found.append(
            CameraInfo(
                index=int(number),
                name=_text(entry / "name", entry.name),
                path=str(node),
                serial=serials.get(entry.name, ""),
                port=ports.get(entry.name, ""),
                virtual=virtual,
                fed=fed,
                allowed=os.access(node, os.R_OK | os.W_OK) or not node.exists(),
                driver=driver,
                modes=modes,
                users=v4l2.users(node) if detailed else (),
            )
        )
    return sorted(found, key=lambda camera: camera.index)


def _links(folder: Path) -> dict[str, str]:
    """Names in a folder of symbolic links, by the name of the node that they lead to."""
    return {link.resolve().name: link.name for link in sorted(folder.glob("*"), reverse=True)}


def _text(path: Path, default: str) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return default


def choose(which: str, cameras: list[CameraInfo], listed: bool = True) -> CameraInfo:
    """The camera that ``which`` means: a number, a path under /dev, or a name or a part of one.

    An exact name wins over a part; two matches are an error that names them. ``listed``: False
    where the system does not tell its cameras, so that a number has to be taken as it is. Raises
    SourceError.
    """
    wanted = which.strip().strip("\"'").strip()
    if not wanted:
        raise SourceError('camera: needs an index or a name, e.g. camera:0 or camera:"Integrated"')
    if wanted.isdecimal() and len(wanted) <= 3:
        found = next((camera for camera in cameras if camera.index == int(wanted)), None)
        if found is None and listed:
            raise SourceError(f"there is no camera {int(wanted)}; {known(cameras)}")
        return found or CameraInfo(int(wanted), "")
    if not listed:
        raise SourceError(
            f"camera:{which}: this system does not tell the names of its cameras; "
            "use an index, e.g. camera:0"
        )
    if wanted.startswith("/"):
        # Names under /dev/v4l/by-id are links to the node; of a camera that is gone, no more.
        node, key = str(Path(wanted).resolve()), Path(wanted).name
        matches = [c for c in cameras if node == c.path or key in (c.serial, c.port)]
    else:
        key = wanted.casefold()
        exact = [
            c for c in cameras if key in (c.name.casefold(), c.serial.casefold(), c.port.casefold())
        ]
        matches = exact or [c for c in cameras if key in f"{c.name}\n{c.serial}".casefold()]
    if not matches:
        raise SourceError(f"there is no camera '{wanted}'; {known(cameras)}")
    if len(matches) > 1:
        raise SourceError(f"'{wanted}' fits several cameras; {known(matches)}: use the index")
    return matches[0]


def find_again(camera: CameraInfo, cameras: list[CameraInfo]) -> CameraInfo | None:
    """The same camera among those connected now, whatever its number; None: it is not there.

    Of several with its name, the one with its serial; where one of them has none, so that a serial
    says nothing, the one in its port; else the first.
    """
    twins = [c for c in cameras if c.name == camera.name]
    if camera.serial and all(twin.serial for twin in twins):
        return next((twin for twin in twins if twin.serial == camera.serial), None)
    return min(twins, key=lambda twin: twin.port != camera.port, default=None)


def first_of(cameras: list[CameraInfo]) -> CameraInfo:
    """The camera to take where none was ever chosen: a real one before virtual ones that somebody
    feeds. Raises SourceError."""
    usable = sorted((c for c in cameras if c.fed), key=lambda camera: camera.virtual)
    if not usable:
        raise SourceError(known([]))
    return usable[0]


def known(cameras: list[CameraInfo]) -> str:
    """The end of a message: what there is to choose from."""
    if not cameras:
        return "no camera is connected: plug one in, or try the built-in source 'performer'"
    return "found " + ", ".join(f"camera:{c.index} ({c.name})" for c in cameras)

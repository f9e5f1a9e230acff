"""What Linux says of a video device: its name, what it is for, its sizes, who has it open.

Structures and numbers are those of the kernel's ``linux/videodev2.h``, little and big endian alike;
the numbers of the requests are those of every architecture but MIPS, PowerPC, SPARC and Alpha.
Asking opens the device for a moment and starts nothing: that works while others use it.
"""

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from realtime.devices import Mode, User

CAPTURE = 0x00000001 | 0x00001000
"""V4L2_CAP_VIDEO_CAPTURE, with one plane or several."""
OUTPUT = 0x00000002 | 0x00002000
"""V4L2_CAP_VIDEO_OUTPUT: takes pictures, as a virtual camera does that nobody feeds yet."""
_HAS_DEVICE_CAPS = 0x80000000
_SEVERAL_PLANES = 0x00001000

_QUERYCAP, _ENUM_FMT = 0x80685600, 0xC0405602
_ENUM_FRAMESIZES, _ENUM_FRAMEINTERVALS = 0xC02C564A, 0xC034564B
_CAPABILITY = struct.Struct("=16s32s32sII I12x")
_FORMAT = struct.Struct("=III32sI16x")
_SIZE = struct.Struct("=III6I8x")
_INTERVAL = struct.Struct("=IIIII6I8x")
_BIG_ENDIAN = 0x80000000
_DISCRETE = 1
_MOST = 256
"""No driver lists more of one kind: a broken one could list for ever."""

Ask = Callable[[int, bytearray], bool]
"""(request, structure): has the kernel fill it in; False at the end of a list."""


@dataclass(frozen=True, slots=True)
class Capability:
    """Answer to VIDIOC_QUERYCAP."""

    driver: str
    name: str
    bus: str
    """Where it is plugged in, e.g. "usb-0000:00:14.0-2"."""
    caps: int
    """Of this node: ``CAPTURE``, ``OUTPUT``, or something else, e.g. metadata."""


def capability(data: bytes) -> Capability:
    """From a ``struct v4l2_capability``, 104 bytes."""
    driver, card, bus, _, all_caps, device_caps = _CAPABILITY.unpack(data)
    # A camera's nodes share ``capabilities``; what this one does is in ``device_caps``.
    caps = device_caps if all_caps & _HAS_DEVICE_CAPS else all_caps
    return Capability(_text(driver), _text(card), _text(bus), caps)


def pixel_format(data: bytes) -> tuple[str, int]:
    """(its four letters, e.g. "MJPG"; its number) from a ``struct v4l2_fmtdesc``, 64 bytes."""
    number = _FORMAT.unpack(data)[4]
    letters = struct.pack("<I", number & ~_BIG_ENDIAN).decode("ascii", "replace").strip()
    return letters + ("-BE" if number & _BIG_ENDIAN else ""), number


def size(data: bytes) -> tuple[int, int, int, int]:
    """(smallest width and height, largest ones) from a ``struct v4l2_frmsizeenum``, 44 bytes."""
    _, _, kind, *numbers = _SIZE.unpack(data)
    if kind == _DISCRETE:
        return numbers[0], numbers[1], numbers[0], numbers[1]
    least_width, most_width, _, least_height, most_height, _ = numbers
    return least_width, least_height, most_width, most_height


def rates(data: bytes) -> tuple[float, ...]:
    """Frames per second of one entry, highest first, from a ``struct v4l2_frmivalenum``, 52 bytes:
    one, or the ends of a range."""
    _, _, _, _, kind, *numbers = _INTERVAL.unpack(data)
    fractions = [numbers[0:2]] if kind == _DISCRETE else [numbers[0:2], numbers[2:4]]
    return tuple(round(over / under, 3) for under, over in fractions if under and over)


def modes(ask: Ask, caps: int) -> tuple[Mode, ...]:
    """Every pixel format, size and rate of a capture device, in the driver's order."""
    kind = 9 if caps & _SEVERAL_PLANES else 1  # V4L2_BUF_TYPE_VIDEO_CAPTURE(_MPLANE)
    found = []
    for described in _list(ask, _ENUM_FMT, _FORMAT, kind):
        letters, number = pixel_format(described)
        for sized in _list(ask, _ENUM_FRAMESIZES, _SIZE, number):
            least_width, least_height, width, height = size(sized)
            timed = _list(ask, _ENUM_FRAMEINTERVALS, _INTERVAL, number, width, height)
            fps = sorted({rate for one in timed for rate in rates(one)}, reverse=True)
            found.append(Mode(letters, least_width, least_height, width, height, tuple(fps)))
    return tuple(found)


def _list(ask: Ask, request: int, layout: struct.Struct, *of: int) -> Iterator[bytes]:
    """What the kernel answers for entry 0, 1, ... until it says that there is no more. ``of``: the
    numbers after the first one, which say of what."""
    for number in range(_MOST):
        data = bytearray(layout.size)
        struct.pack_into(f"={1 + len(of)}I", data, 0, number, *of)
        if not ask(request, data):
            return
        yield bytes(data)


def query(node: Path) -> tuple[Capability, tuple[Mode, ...]]:
    """What ``node`` is and, for a camera, what it can. Raises OSError."""
    import fcntl

    descriptor = os.open(node, os.O_RDWR | os.O_NONBLOCK)
    try:

        def ask(request: int, data: bytearray) -> bool:
            try:
                fcntl.ioctl(descriptor, request, data, True)
            except OSError:  # EINVAL at the end of a list, ENOTTY where there is none
                return False
            return True

        data = bytearray(_CAPABILITY.size)
        fcntl.ioctl(descriptor, _QUERYCAP, data, True)
        found = capability(bytes(data))
        return found, modes(ask, found.caps) if found.caps & CAPTURE else ()
    finally:
        os.close(descriptor)


def users(node: Path, proc: Path = Path("/proc")) -> tuple[User, ...]:
    """Programs that have ``node`` open, this one left out. Those of other users are seen by root
    alone."""
    wanted = str(node.resolve())
    found = []
    for process in proc.glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        try:
            held = any(_target(link) == wanted for link in (process / "fd").iterdir())
        except OSError:  # ended meanwhile, or another user's
            continue
        if held:
            found.append(User(int(process.name), _program(process)))
    return tuple(sorted(found, key=lambda user: user.pid))


def _target(link: Path) -> str:
    try:
        return os.readlink(link)  # not followed: that can block
    except OSError:
        return ""


def _program(process: Path) -> str:
    try:
        return (process / "comm").read_text("utf-8", "replace").strip()
    except OSError:
        return "?"


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "replace").strip()

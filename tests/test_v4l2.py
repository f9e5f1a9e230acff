"""What the kernel says of video devices. The bytes were printed by a C program that fills in the
structures of ``linux/videodev2.h`` (GCC, x86-64)."""

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from realtime import v4l2
from realtime.devices import Mode, User

CAMERA = bytes.fromhex(
    "757663766964656f000000000000000048442050726f2057656263616d2043393230000000000000"
    "00000000000000007573622d303030303a30303a31342e302d320000000000000000000000000000"
    "2b0c06000100a08401002004000000000000000000000000"
)
METADATA = bytes.fromhex(
    "757663766964656f000000000000000048442050726f2057656263616d2043393230000000000000"
    "00000000000000007573622d303030303a30303a31342e302d320000000000000000000000000000"
    "2b0c06000100a0840000a004000000000000000000000000"
)
LOOPBACK = bytes.fromhex(
    "76346c32206c6f6f706261636b00000070757070657463616d000000000000000000000000000000"
    "0000000000000000706c6174666f726d3a76346c326c6f6f706261636b2d30303400000000000000"
    "000000000200008502000005000000000000000000000000"
)
BEFORE_DEVICE_CAPS = bytes.fromhex(
    "6f6c64000000000000000000000000004f6c6420b52063616d000000000000000000000000000000"
    "00000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000100000100000000000000000000000000000000"
)
MJPG = bytes.fromhex(
    "0100000001000000010000004d6f74696f6e2d4a5045470000000000000000000000000000000000"
    "000000004d4a504700000000000000000000000000000000"
)
DISCRETE = bytes.fromhex(
    "030000004d4a50470100000000050000d0020000000000000000000000000000000000000000000000000000"
)
STEPWISE = bytes.fromhex(
    "00000000595559560300000030000000000f0000020000002000000070080000010000000000000000000000"
)
INTERVAL = bytes.fromhex(
    "020000004d4a504700050000d002000001000000e903000030750000000000000000000000000000"
    "000000000000000000000000"
)
CONTINUOUS = bytes.fromhex(
    "000000005955595680020000e001000002000000010000003c000000010000000200000001000000"
    "010000000000000000000000"
)


def test_a_camera_its_metadata_and_a_virtual_camera_are_told_apart() -> None:
    camera = v4l2.capability(CAMERA)
    assert (camera.driver, camera.name) == ("uvcvideo", "HD Pro Webcam C920")
    assert camera.bus == "usb-0000:00:14.0-2"
    assert camera.caps & v4l2.CAPTURE
    assert not v4l2.capability(METADATA).caps & (v4l2.CAPTURE | v4l2.OUTPUT)
    loopback = v4l2.capability(LOOPBACK)
    assert loopback.driver == "v4l2 loopback"
    assert loopback.caps & v4l2.OUTPUT
    assert not loopback.caps & v4l2.CAPTURE
    old = v4l2.capability(BEFORE_DEVICE_CAPS)
    assert old.caps & v4l2.CAPTURE
    assert old.name == "Old \N{REPLACEMENT CHARACTER} cam"


def test_formats_sizes_and_rates_are_read() -> None:
    assert v4l2.pixel_format(MJPG) == ("MJPG", 0x47504A4D)
    big_endian = MJPG[:44] + b"Y16\xa0" + MJPG[48:]
    assert v4l2.pixel_format(big_endian) == ("Y16-BE", 0xA0363159)
    assert v4l2.size(DISCRETE) == (1280, 720, 1280, 720)
    assert v4l2.size(STEPWISE) == (48, 32, 3840, 2160)
    assert v4l2.rates(INTERVAL) == (29.97,)
    assert v4l2.rates(CONTINUOUS) == (60.0, 2.0)
    assert v4l2.rates(INTERVAL[:20] + bytes(32)) == ()  # a driver that says 0/0


def test_a_structure_of_another_length_is_no_answer() -> None:
    with pytest.raises(struct.error):
        v4l2.capability(CAMERA[:-1])


class Driver:
    """Answers requests from tables, as a driver does: (number, what it is of) -> structure."""

    def __init__(self, tables: dict[tuple[int, ...], bytes]) -> None:
        self.tables = tables

    def __call__(self, request: int, data: bytearray) -> bool:
        words = {0xC0405602: 2, 0xC02C564A: 2, 0xC034564B: 4}[request]
        key = (request & 0xFF, *struct.unpack_from(f"={words}I", data))
        if key not in self.tables:
            return False
        data[:] = self.tables[key]
        return True


def test_modes_are_every_format_in_every_size() -> None:
    mjpg, yuyv = 0x47504A4D, 0x56595559
    second = MJPG[:44] + struct.pack("=I", yuyv) + MJPG[48:]
    driver = Driver(
        {
            (2, 0, 1): MJPG,
            (2, 1, 1): second,
            (74, 0, mjpg): DISCRETE,
            (74, 0, yuyv): STEPWISE,
            (75, 0, mjpg, 1280, 720): INTERVAL,
            (75, 1, mjpg, 1280, 720): INTERVAL[:20] + struct.pack("=II", 1, 60) + INTERVAL[28:],
            (75, 0, yuyv, 3840, 2160): CONTINUOUS,
        }
    )
    assert v4l2.modes(driver, 0x1) == (
        Mode("MJPG", 1280, 720, 1280, 720, (60.0, 29.97)),
        Mode("YUYV", 48, 32, 3840, 2160, (60.0, 2.0)),
    )
    assert v4l2.modes(driver, 0x1000) == ()  # asked as a device of several planes, kind 9


def test_a_driver_that_lists_for_ever_is_stopped() -> None:
    endless = {**{(2, n, 1): MJPG for n in range(2000)}}
    assert v4l2.modes(Driver(endless), 0x1) == ()


PROGRAM = r"""
#include <linux/videodev2.h>
#include <stddef.h>
#include <stdio.h>
int main(void) {
  printf("%lu %lu %lu %lu\n", (unsigned long)VIDIOC_QUERYCAP, (unsigned long)VIDIOC_ENUM_FMT,
    (unsigned long)VIDIOC_ENUM_FRAMESIZES, (unsigned long)VIDIOC_ENUM_FRAMEINTERVALS);
  printf("%zu %zu %zu %zu\n", sizeof(struct v4l2_capability), sizeof(struct v4l2_fmtdesc),
    sizeof(struct v4l2_frmsizeenum), sizeof(struct v4l2_frmivalenum));
  printf("%zu %zu %zu %zu\n", offsetof(struct v4l2_capability, device_caps),
    offsetof(struct v4l2_fmtdesc, pixelformat), offsetof(struct v4l2_frmsizeenum, discrete),
    offsetof(struct v4l2_frmivalenum, discrete));
  return 0;
}
"""
HEADER = Path("/usr/include/linux/videodev2.h")


@pytest.mark.skipif(
    not (HEADER.exists() and shutil.which("cc")), reason="needs a C compiler and Linux's headers"
)
def test_requests_and_layouts_are_those_of_this_machines_header(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text(PROGRAM)
    subprocess.run(["cc", "-o", tmp_path / "a", tmp_path / "a.c"], check=True)
    lines = subprocess.run([tmp_path / "a"], capture_output=True, text=True, check=True).stdout
    requests, sizes, offsets = ([int(n) for n in line.split()] for line in lines.splitlines())
    assert requests == [v4l2._QUERYCAP, v4l2._ENUM_FMT, v4l2._ENUM_FRAMESIZES,
                        v4l2._ENUM_FRAMEINTERVALS]  # fmt: skip
    layouts = (v4l2._CAPABILITY, v4l2._FORMAT, v4l2._SIZE, v4l2._INTERVAL)
    assert sizes == [layout.size for layout in layouts] == [104, 64, 44, 52]
    assert offsets == [88, 44, 12, 20]


def test_what_is_no_video_device_is_refused_by_the_kernel(tmp_path: Path) -> None:
    file = tmp_path / "video0"
    file.touch()
    for node in (file, tmp_path / "none"):
        with pytest.raises(OSError, match=r"."):
            v4l2.query(node)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_program_that_has_the_device_open_is_named(tmp_path: Path) -> None:
    node = tmp_path / "video0"
    node.touch()
    assert v4l2.users(node) == ()
    with node.open(), subprocess.Popen(
        [sys.executable, "-c", f"f = open({str(node)!r}); print(1, flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        child.stdout.readline()
        found = v4l2.users(node)
        child.communicate(b"\n")
    assert [user.pid for user in found] == [child.pid]  # and not this process
    assert "python" in found[0].name
    assert v4l2.users(node) == ()


def test_processes_that_may_not_be_looked_into_are_passed_over(tmp_path: Path) -> None:
    node, proc = tmp_path / "video0", tmp_path / "proc"
    node.touch()
    for pid, program in ((7, "obs"), (8, "firefox")):
        (proc / str(pid) / "fd").mkdir(parents=True)
        (proc / str(pid) / "comm").write_text(program + "\n")
    (proc / "9").mkdir()  # ended: no fd
    (proc / "self").mkdir()
    os.symlink(node, proc / "7" / "fd" / "12")
    os.symlink("pipe:[123]", proc / "8" / "fd" / "1")
    assert v4l2.users(node, proc) == (User(7, "obs"),)

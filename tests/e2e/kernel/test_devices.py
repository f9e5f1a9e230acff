"""Cameras and virtual cameras of a real kernel: vivid, a test webcam, and v4l2loopback. ``make
test-kernel`` runs this in a virtual machine, as root."""

import fcntl
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from bench.counter import draw_counter
from config.errors import SinkError, SourceError
from config.schema import CameraSettings, OutputSettings
from realtime import camera, watched
from realtime.camera import CameraOpener, open_source
from realtime.devices import list_cameras
from realtime.frame import Frame
from realtime.loopback import RELOAD
from realtime.pipeline import Capture
from realtime.virtual_camera import VirtualCamera

MODULES = os.environ.get("E2E_MODULES", "")
pytestmark = pytest.mark.skipif(not MODULES, reason="needs a kernel of its own: make test-kernel")

CAMERA = CameraSettings(width=320, height=180, retry_s=10.0)
"""An unplugged vivid is there again as soon as nobody holds it: time to take it away before."""
OUTPUT = OutputSettings(width=320, height=240, fps=10)
SLOW_S = 300.0
"""Longest wait: the machine is emulated."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """In an emulated machine a camera may take long to open."""
    monkeypatch.setattr(camera, "FIRST_PICTURE_S", 30.0)
    monkeypatch.setattr(watched, "OPEN_S", SLOW_S)


def load(*words: str) -> None:
    subprocess.run(["modprobe", "-d", MODULES, *words], check=True)


def unload(module: str) -> bool:
    return subprocess.run(["rmmod", module], check=False).returncode == 0


def wait_until(true: Callable[[], object], what: str) -> None:
    ends_at = time.perf_counter() + SLOW_S
    while not true():
        assert time.perf_counter() < ends_at, what
        time.sleep(0.1)


class Reader:
    """Another program that has a device open and looks at its pictures."""

    def __init__(self, node: Path, said: Path) -> None:
        self._said = said
        with said.open("wb") as file:
            words = [sys.executable, "-m", "bench.receiver", str(node)]
            self._process = subprocess.Popen(words, stdout=file)
        self.pid = self._process.pid

    def pictures(self) -> list[int | None]:
        """Their numbers; None: it had none."""
        lines = [line.split() for line in self._said.read_text().splitlines()]
        return [None if line[1] == "-" else int(line[1]) for line in lines if len(line) == 2]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


# --- a webcam -----------------------------------------------------------------------------------


@pytest.fixture
def webcam() -> Iterator[Path]:
    load("vivid", "n_devs=1", "vid_cap_nr=3")
    yield Path("/dev/video3")
    wait_until(lambda: unload("vivid"), "vivid is let go")


def disconnect(node: Path) -> None:
    """Have vivid do as if it were unplugged: a control of its own, found by its name."""
    query, control = struct.Struct("=II32s7I"), struct.Struct("=Ii")
    device = os.open(node, os.O_RDWR)
    try:
        data = bytearray(query.size)
        name = b""
        while name != b"Disconnect":
            query.pack_into(data, 0, query.unpack(data)[0] | 0x80000000, 0, b"", *[0] * 7)
            fcntl.ioctl(device, 0xC0445624, data)  # VIDIOC_QUERYCTRL, the next one
            name = query.unpack(data)[2].partition(b"\0")[0]
        fcntl.ioctl(device, 0xC008561C, control.pack(query.unpack(data)[0], 1))  # VIDIOC_S_CTRL
    finally:
        os.close(device)


def test_a_webcam_is_listed_once_and_names_the_program_that_holds_it(
    webcam: Path, tmp_path: Path
) -> None:
    (one,) = list_cameras(detailed=True)
    assert (one.path, one.name, one.driver) == (str(webcam), "vivid-000-vid-cap", "vivid")
    assert one.users == ()
    assert {(mode.width, mode.height) for mode in one.modes} >= {(320, 180), (1920, 1080)}
    with closing(Reader(webcam, tmp_path / "reader")) as reader:
        wait_until(reader.pictures, "the other program has a picture")
        assert [user.pid for user in list_cameras(detailed=True)[0].users] == [reader.pid]
        with pytest.raises(SourceError, match=rf"it is in use by \S+ \({reader.pid}\)"):
            open_source("camera:vivid", CAMERA)
    with closing(open_source("camera:vivid", CAMERA)) as source:
        frames = [source.read() for _ in range(5)]
    for number, frame in enumerate(frames):
        assert frame is not None
        assert frame.image.shape == (180, 320, 3)
        assert frame.image.std() > 20, number


def test_an_unplugged_webcam_is_noticed_and_found_again_under_another_number(
    webcam: Path,
) -> None:
    opener = CameraOpener("vivid", CAMERA)
    with closing(Capture(opener, CAMERA, time.perf_counter)) as capture:

        def count(frames: int) -> None:
            while frames:
                frames -= capture.read() is not None
                time.sleep(capture.wait_s())

        count(20)
        assert opener.camera is not None
        assert opener.camera.path == str(webcam)
        disconnect(webcam)
        started = time.perf_counter()
        while capture.read() is not None:
            pass
        noticed_s = time.perf_counter() - started
        assert capture.lost

        def plug() -> None:
            wait_until(lambda: unload("vivid"), "vivid is let go")
            time.sleep(2)
            load("vivid", "n_devs=1", "vid_cap_nr=7")

        plugging = threading.Thread(target=plug)
        plugging.start()
        count(10)
        plugging.join()
        assert not capture.lost
        assert opener.camera.path == "/dev/video7"
    print(f"an unplugged camera was noticed after {noticed_s:.1f} s")
    assert noticed_s < 5  # 2 s where nothing is emulated


# --- a virtual camera ---------------------------------------------------------------------------


@pytest.fixture(params=[0, 1], ids=["exclusive_caps=0", "exclusive_caps=1"])
def exclusive(request: pytest.FixtureRequest) -> Iterator[bool]:
    with pytest.raises(SinkError, match="v4l2loopback is not "):
        VirtualCamera(OUTPUT)
    load_loopback(request.param)
    yield bool(request.param)
    wait_until(lambda: unload("v4l2loopback"), "v4l2loopback is let go")


def load_loopback(exclusive: int) -> None:
    label = "card_label=puppetcam"
    load("v4l2loopback", "devices=1", "video_nr=5", label, f"exclusive_caps={int(exclusive)}")


def feed(sink: VirtualCamera, true: Callable[[], object], what: str, first: int = 0) -> int:
    """Send numbered pictures until it is true; the number after the last one."""
    ends_at = time.perf_counter() + SLOW_S
    number = first
    while not true():
        assert time.perf_counter() < ends_at, what
        image = np.full((240, 320, 3), (200, 120, 40), np.uint8)
        draw_counter(image, number)
        sink.send(Frame(image, time.perf_counter(), number))
        number += 1
        time.sleep(1 / OUTPUT.fps)
    return number


def opened_again() -> str:
    """ "opened", or why not."""
    try:
        VirtualCamera(OUTPUT).close()
    except SinkError as error:
        return str(error)
    return "opened"


def another_writer() -> str:
    """What another program is told that wants to send."""
    script = (
        "from config.errors import SinkError; from config.schema import OutputSettings\n"
        "from realtime.virtual_camera import VirtualCamera\n"
        "try: VirtualCamera(OutputSettings(width=320, height=240)); print('opened')\n"
        "except SinkError as error: print(error)"
    )
    words = [sys.executable, "-c", script]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def test_a_virtual_camera_is_held_for_the_whole_run_and_read_by_others(
    exclusive: bool, tmp_path: Path
) -> None:
    node = Path("/dev/video5")
    (before,) = list_cameras()
    assert (before.name, before.path, before.virtual) == ("puppetcam", str(node), True)
    assert before.fed is not exclusive
    if exclusive:
        with pytest.raises(SourceError, match="a virtual camera to which nothing sends"):
            open_source("camera:puppetcam", CAMERA)
    with (
        closing(VirtualCamera(OUTPUT)) as sink,
        closing(Reader(node, tmp_path / "reader")) as reader,
    ):
        assert sink.name == f"virtualcam ({node})"
        sent = feed(sink, lambda: len(reader.pictures()) > 10, "the other program sees it")
        large = np.full((480, 640, 3), 90, np.uint8)
        sink.send(Frame(large, time.perf_counter(), sent))  # is fitted in, nothing is opened anew
        seen = len(reader.pictures())
        sent = feed(sink, lambda: len(reader.pictures()) > seen + 10, "it goes on", sent + 1)
        numbers = [number for number in reader.pictures() if number is not None]
        assert len(numbers) > 15
        assert numbers == sorted(numbers)
        assert max(numbers) < sent
        assert [user.pid for user in list_cameras(detailed=True)[0].users] == [reader.pid]
        told = another_writer()
        if exclusive:
            assert f"{node} is in use by" in told
        if exclusive or told != "opened":  # some versions take a second writer, and ignore it
            assert f"({os.getpid()})" in told
            assert "\n" not in told
        assert not unload("v4l2loopback")  # in use
        seen = len(reader.pictures())
        feed(
            sink, lambda: len(reader.pictures()) > seen + 3, "what others try changes nothing", sent
        )
    told = opened_again()
    if not exclusive:
        assert told == "opened"
    if told != "opened":  # some versions take one writer for each time that they are loaded
        assert "written to before" in told
        assert RELOAD in told
    wait_until(lambda: unload("v4l2loopback"), "v4l2loopback is let go")
    assert list_cameras() == []
    load_loopback(exclusive)
    with (
        closing(VirtualCamera(OUTPUT)) as sink,
        closing(Reader(node, tmp_path / "again")) as reader,
    ):
        feed(sink, lambda: len(reader.pictures()) > 3, "it is there again")

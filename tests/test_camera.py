import logging
import os
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from config.errors import SourceError
from config.schema import CameraSettings
from realtime import directshow, v4l2
from realtime.camera import MOST_HUNG, CameraOpener, Webcam, open_source, open_webcam
from realtime.choice import remember
from realtime.devices import CameraInfo, User
from realtime.frame import Image

SETTINGS = CameraSettings(width=64, height=48, fps=30, stall_s=2)
COLOURS = ((220, 30, 40), (40, 200, 60), (30, 60, 210), (230, 220, 50), (128, 128, 128))


class Clock:
    """Time passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Device:
    """As much of a cv2.VideoCapture as a webcam needs, with a script of what its reads give."""

    def __init__(self, script: list[Image | None], clock: Clock, block_s: float = 0.0) -> None:
        self.script, self.clock, self.block_s = script, clock, block_s
        self.opened = True
        self.size = (64.0, 48.0)
        self.fps = 30.0

    def get(self, what: int) -> float:
        return {
            cv2.CAP_PROP_FRAME_WIDTH: self.size[0],
            cv2.CAP_PROP_FRAME_HEIGHT: self.size[1],
            cv2.CAP_PROP_FPS: self.fps,
            cv2.CAP_PROP_FOURCC: float(int.from_bytes(b"YUYV", "little")),
        }[what]

    def grab(self) -> bool:
        self.clock.now += self.block_s
        return bool(self.script) and self.opened

    def retrieve(self) -> tuple[bool, Image | None]:
        image = self.script.pop(0)
        return image is not None, image

    def isOpened(self) -> bool:  # noqa: N802
        return self.opened

    def release(self) -> None:
        self.opened = False


def webcam(device: Device, node: Path | None = None) -> Webcam:
    clock = device.clock
    return Webcam(device, "camera 0", SETTINGS, node, clock=clock, sleep=clock.sleep)  # type: ignore[arg-type]


def plain(colour: tuple[int, int, int]) -> Image:
    return np.full((48, 64, 3), colour, np.uint8)


def test_performer_is_a_source_by_its_name() -> None:
    source = open_source("performer", SETTINGS)
    frame = source.read()
    source.close()
    assert source.live
    assert frame is not None
    assert frame.image.shape == (source.height, source.width, 3) == (480, 640, 3)


# --- webcam ---


def test_blue_green_red_becomes_red_green_blue() -> None:
    bgr = np.zeros((48, 64, 3), np.uint8)
    bgr[:] = (1, 2, 3)
    frame = webcam(Device([bgr], Clock())).read()
    np.testing.assert_array_equal(frame.image[0, 0], (3, 2, 1))


def test_capture_time_is_that_after_the_grab_and_frames_are_numbered() -> None:
    camera = webcam(Device([plain(c) for c in COLOURS], Clock(), block_s=0.033))
    frames = [camera.read() for _ in range(3)]
    assert [f.index for f in frames] == [0, 1, 2]
    assert [f.captured_at for f in frames] == pytest.approx([50.033, 50.066, 50.099])


def test_one_spoilt_picture_is_read_again() -> None:
    frame = webcam(Device([None, plain((9, 9, 9))], Clock())).read()
    assert frame.index == 0
    assert frame.captured_at == pytest.approx(50.02)


def test_silent_camera_is_stalled_after_two_seconds() -> None:
    clock = Clock()
    with pytest.raises(SourceError, match=r"camera 0 gave no picture for 2\.0 s"):
        webcam(Device([], clock)).read()
    assert clock.now == pytest.approx(52, abs=0.05)


def test_driver_that_blocks_is_stalled_after_its_first_failure() -> None:
    with pytest.raises(SourceError, match=r"gave no picture for 3\.0 s"):
        webcam(Device([], Clock(), block_s=3)).read()


def test_vanished_device_node_is_an_unplug_at_once(tmp_path: Path) -> None:
    clock = Clock()
    with pytest.raises(SourceError, match=r"was unplugged: .*video0 is gone"):
        webcam(Device([], clock), tmp_path / "video0").read()
    assert clock.now == 50


def test_closed_camera_says_so_and_closes_twice() -> None:
    camera = webcam(Device([plain((1, 1, 1))], Clock()))
    camera.close()
    camera.close()
    with pytest.raises(SourceError, match="camera 0 is closed"):
        camera.read()


def test_other_size_or_rate_than_asked_is_told(caplog: pytest.LogCaptureFixture) -> None:
    device = Device([], Clock())
    with caplog.at_level(logging.WARNING):
        webcam(device)
        assert not caplog.messages
        device.size, device.fps = (1280.0, 720.0), 10.0
        camera = webcam(device)
    assert caplog.messages == [
        "camera 0 gives 1280x720 at 10 fps in YUYV, asked for 64x48 at 30 in MJPG; "
        "'puppetcam cameras' lists what it can"
    ]
    assert (camera.width, camera.height, camera.fps) == (1280, 720, 10)


def test_camera_that_does_not_tell_its_rate_is_taken_at_the_asked_one() -> None:
    device = Device([], Clock())
    device.fps = 0.0
    assert webcam(device).fps == 30


def test_missing_camera_is_one_line_with_what_to_do() -> None:
    with pytest.raises(SourceError, match="camera 63") as error:
        open_source("camera:63", SETTINGS)
    assert "\n" not in str(error.value)


# --- opened ---

INTEGRATED = CameraInfo(0, "Integrated Camera")
C920 = CameraInfo(2, "HD Pro Webcam C920", serial="usb-046d_A1")


def opened(
    monkeypatch: pytest.MonkeyPatch, *devices: Device, platform: str = "win32"
) -> list[tuple[int, float]]:
    """Has OpenCV open ``devices``, one after the other; what is set on them."""
    asked: list[tuple[int, float]] = []
    waiting = iter(devices)

    def capture(index: int, api: int) -> Device:
        device = next(waiting)
        device.index = index  # type: ignore[attr-defined]
        device.set = lambda what, value: asked.append((what, value))  # type: ignore[attr-defined]
        return device

    monkeypatch.setattr("realtime.camera.sys.platform", platform)
    monkeypatch.setattr(cv2, "VideoCapture", capture)
    return asked


def closed_device() -> Device:
    device = Device([plain((0, 0, 0))], Clock())
    device.opened = False
    return device


def refusal(camera: CameraInfo) -> str:
    with pytest.raises(SourceError) as error:
        open_webcam(camera, SETTINGS)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_compressed_pictures_are_asked_for_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = opened(monkeypatch, Device([plain((0, 0, 0))], Clock()))
    open_webcam(INTEGRATED, SETTINGS).close()
    mjpg = sum(ord(letter) << 8 * place for place, letter in enumerate("MJPG"))
    assert asked == [
        (cv2.CAP_PROP_FOURCC, mjpg),
        (cv2.CAP_PROP_FRAME_WIDTH, 64),
        (cv2.CAP_PROP_FRAME_HEIGHT, 48),
        (cv2.CAP_PROP_FPS, 30.0),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_busy_camera_names_the_program_and_is_released(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node = tmp_path / "video0"
    node.touch()
    device = closed_device()
    opened(monkeypatch, device, platform="linux")
    monkeypatch.setattr(v4l2, "users", lambda path: (User(4242, "firefox"), User(99, "obs")))
    assert refusal(CameraInfo(0, "Cam", str(node))) == (
        "camera 0 (Cam) cannot be opened: it is in use by firefox (4242), obs (99); "
        "close it there, or take another camera"
    )


def test_camera_that_opens_and_gives_nothing_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device([], Clock())
    monkeypatch.setattr("realtime.camera.FIRST_PICTURE_S", 0.0)
    opened(monkeypatch, device)
    assert refusal(INTEGRATED).startswith(
        "camera 0 (Integrated Camera) opens but gives no picture: another program may hold it"
    )
    assert not device.opened


def test_what_the_system_blocks_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    opened(monkeypatch, closed_device(), closed_device(), closed_device())
    monkeypatch.setattr(directshow, "consent", lambda: {"NonPackaged": {"Value": "Deny"}})
    assert "Settings > Privacy & security > Camera, for desktop apps too" in refusal(INTEGRATED)
    zoom = {"LastUsedTimeStart": 1, "LastUsedTimeStop": 0}
    monkeypatch.setattr(directshow, "consent", lambda: {"NonPackaged": {"C:#Zoom.exe": zoom}})
    assert "it is in use by Zoom.exe; close it there" in refusal(INTEGRATED)
    monkeypatch.setattr("realtime.camera.sys.platform", "darwin")
    assert "System Settings > Privacy & Security > Camera, then quit the te" in refusal(INTEGRATED)


def test_virtual_camera_that_nobody_feeds_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    opened(monkeypatch, closed_device(), platform="darwin")
    camera = CameraInfo(4, "puppetcam", virtual=True, fed=False)
    assert "a virtual camera to which nothing sends; start the program" in refusal(camera)


def test_forbidden_camera_names_the_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    node = tmp_path / "video0"
    node.touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "sudo usermod -aG video $USER" in refusal(CameraInfo(0, "Cam", str(node)))


def test_camera_whose_node_is_gone_is_unplugged(tmp_path: Path) -> None:
    assert refusal(CameraInfo(3, "Cam", str(tmp_path / "video3"))).startswith(
        "camera 3 (Cam) was unplugged: "
    )


# --- again and again ---


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[CameraInfo]:
    """The cameras that the system lists, to be changed by the test."""
    cameras = [INTEGRATED, C920]
    monkeypatch.setattr("realtime.camera.list_cameras", lambda: cameras)
    monkeypatch.setenv("PUPPETCAM_STATE", str(tmp_path))
    return cameras


def test_after_a_replug_the_same_camera_is_opened_under_its_new_number(
    monkeypatch: pytest.MonkeyPatch, connected: list[CameraInfo]
) -> None:
    devices = [Device([plain((n, 0, 0))], Clock()) for n in range(2)]
    opened(monkeypatch, *devices)
    opener = CameraOpener("2", SETTINGS)
    with closing(opener()) as camera:
        assert camera.name == "camera 2 (HD Pro Webcam C920)"
    connected[:] = [INTEGRATED]
    with pytest.raises(
        SourceError, match=r"camera 2 \(HD Pro.* is not connected; found camera:0 \(Integrated"
    ):
        opener()
    connected[:] = [CameraInfo(2, "Another one"), replace(C920, index=5)]
    with closing(opener()) as camera:
        assert camera.name == "camera 5 (HD Pro Webcam C920)"
    assert [device.index for device in devices] == [2, 5]  # type: ignore[attr-defined]
    assert opener.camera == replace(C920, index=5)


def test_without_a_name_the_camera_chosen_last_is_taken(
    monkeypatch: pytest.MonkeyPatch,
    connected: list[CameraInfo],
    caplog: pytest.LogCaptureFixture,
) -> None:
    opened(monkeypatch, *(Device([plain((0, 0, 0))], Clock()) for _ in range(3)))

    def taken() -> str:
        with closing(open_source("camera", SETTINGS)) as camera:
            return camera.name

    assert taken() == "camera 0 (Integrated Camera)"  # none was ever chosen
    remember(C920)
    assert taken() == "camera 2 (HD Pro Webcam C920)"
    assert not caplog.messages
    connected.remove(C920)
    assert taken() == "camera 0 (Integrated Camera)"
    assert caplog.messages == [
        "the camera chosen last, HD Pro Webcam C920, is not connected; "
        "taking camera 0 (Integrated Camera) instead"
    ]


def test_a_system_that_lists_nothing_opens_by_number(
    monkeypatch: pytest.MonkeyPatch, connected: list[CameraInfo]
) -> None:
    connected.clear()
    opened(monkeypatch, *(Device([plain((0, 0, 0))], Clock()) for _ in range(2)))
    opener = CameraOpener(None, SETTINGS)
    for _ in range(2):
        with closing(opener()) as camera:
            assert camera.name == "camera 0"


def test_a_driver_that_keeps_every_thread_gets_no_more(
    monkeypatch: pytest.MonkeyPatch, connected: list[CameraInfo]
) -> None:
    monkeypatch.setattr("realtime.watched.OPEN_S", 0.01)
    go = threading.Event()
    monkeypatch.setattr("realtime.camera.list_cameras", lambda: go.wait(30) and [])
    opener = CameraOpener("0", SETTINGS)
    for _ in range(MOST_HUNG):
        with pytest.raises(SourceError, match="its driver hangs"):
            opener()
    for _ in range(3):
        with pytest.raises(SourceError, match="driver hangs; plug the camera in again"):
            opener()
    assert [thread.is_alive() for thread in opener._threads] == [True] * MOST_HUNG
    go.set()
    for thread in opener._threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in opener._threads)

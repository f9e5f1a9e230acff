"""``puppetcam cameras``, through the command line."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from config.errors import SourceError
from puppetcam.cli import main
from realtime.choice import remember
from realtime.devices import CameraInfo, Mode, User
from realtime.frame import Frame, Image

C920 = CameraInfo(
    index=2,
    name="HD Pro Webcam C920",
    path="/dev/video2",
    serial="usb-046d_HD_Pro_A1-video-index0",
    port="pci-1",
    driver="uvcvideo",
    modes=(
        Mode("YUYV", 640, 480, 640, 480, (30.0, 15.0)),
        Mode("YUYV", 1920, 1080, 1920, 1080, (5.0,)),
        Mode("NV12", 640, 480, 640, 480, (30.0, 15.0)),
        Mode("NV12", 1920, 1080, 1920, 1080, (5.0,)),
        Mode("MJPG", 640, 480, 640, 480, (30.0, 15.0)),
        Mode("MJPG", 1920, 1080, 1920, 1080, (30.0, 15.0)),
    ),
    users=(User(4242, "firefox"),),
)
LOOPBACK = CameraInfo(
    4, "puppetcam", "/dev/video4", virtual=True, fed=False, modes=(Mode("YU12", 2, 1, 8, 9, ()),)
)
LOCKED = CameraInfo(6, "Locked", "/dev/video6", allowed=False)


@pytest.fixture
def cameras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[CameraInfo]:
    """What the system lists; nothing is remembered."""
    found: list[CameraInfo] = []
    monkeypatch.setattr("realtime.devices.list_cameras", lambda detailed=False: list(found))
    monkeypatch.setenv("PUPPETCAM_STATE", str(tmp_path / "state"))
    return found


def test_each_camera_is_told_with_what_it_can_and_who_uses_it(
    cameras: list[CameraInfo], capsys: pytest.CaptureFixture[str]
) -> None:
    cameras += [C920, LOOPBACK, LOCKED]
    remember(replace(C920, index=7))
    assert main(["cameras"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "camera:2  HD Pro Webcam C920  (chosen last)",
        '  --source "camera:HD Pro Webcam C920"',
        "  /dev/video2, usb-046d_HD_Pro_A1-video-index0",
        "  in use by firefox (4242)",
        "  MJPG: 640x480, 1920x1080 up to 30 fps",
        "  YUYV, NV12: 640x480 up to 30 fps; 1920x1080 up to 5 fps",
        "camera:4  puppetcam",
        '  --source "camera:puppetcam"',
        "  /dev/video4",
        "  a virtual camera, made by software; nothing sends to it now: nothing to be seen",
        "  YU12: 2x1 to 8x9",
        "camera:6  Locked",
        '  --source "camera:Locked"',
        "  /dev/video6",
        "  not allowed to this user; run 'sudo usermod -aG video $USER', then log out and in again",
    ]


def test_two_cameras_of_one_name_are_told_apart_by_what_stays(
    cameras: list[CameraInfo], capsys: pytest.CaptureFixture[str]
) -> None:
    other = replace(C920, index=4, serial="", port="pci-2")
    third = replace(C920, index=6, serial="", port="")
    cameras += [C920, other, third]
    assert main(["cameras"]) == 0
    found = capsys.readouterr().out
    for which in (C920.serial, "pci-2", "6"):
        assert f'--source "camera:{which}"' in found


def test_json_is_for_programs(
    cameras: list[CameraInfo], capsys: pytest.CaptureFixture[str]
) -> None:
    cameras += [C920, LOOPBACK]
    remember(LOCKED)
    assert main(["cameras", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    first, second = found["cameras"]
    assert (first["index"], first["serial"], first["chosen"]) == (2, C920.serial, False)
    assert first["source"] == "camera:HD Pro Webcam C920"
    assert first["modes"][1] == {
        "letters": "YUYV", "least_width": 1920, "least_height": 1080, "width": 1920,
        "height": 1080, "fps": [5.0],
    }  # fmt: skip
    assert first["users"] == [{"pid": 4242, "name": "firefox"}]
    assert (second["virtual"], second["fed"], second["still"]) == (True, False, None)
    assert found["chosen_but_missing"] == "Locked"


def test_without_cameras_it_says_what_to_do(
    cameras: list[CameraInfo],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert main(["cameras"]) == 0
    assert capsys.readouterr().out.startswith("no camera is connected: plug one in")
    assert main(["cameras", "--preview", str(tmp_path / "stills")]) == 2
    assert capsys.readouterr().err.startswith("puppetcam: no camera is connected")
    assert not (tmp_path / "stills").exists()


class Webcam:
    """A source that gives plain pictures, 10 a second on its own clock, the first ones dark."""

    live, fps = True, 10.0

    def __init__(self, camera: CameraInfo) -> None:
        self.name, self.count = f"camera {camera.index}", 0
        self.width, self.height = 64, 48
        self.colour = (10 * camera.index, 200, 30)

    def read(self) -> Frame:
        self.count += 1
        image: Image = np.zeros((48, 64, 3), np.uint8)
        if self.count > 10:
            image[:] = self.colour
        return Frame(image, self.count / 10, self.count)

    def close(self) -> None:
        pass


def test_preview_writes_a_still_of_each_and_says_that_it_is_the_raw_picture(
    cameras: list[CameraInfo],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    cameras += [replace(C920, name="C920 / ../HD"), LOOPBACK, LOCKED]

    def opened(camera: CameraInfo, settings: object) -> Webcam:
        if not camera.allowed:
            raise SourceError("camera 6 may not be opened")
        return Webcam(camera)

    monkeypatch.setattr("realtime.camera.open_webcam", opened)
    folder = tmp_path / "stills"
    assert main(["cameras", "--preview", str(folder)]) == 2  # one has failed
    said = capsys.readouterr()
    assert "ARE the raw picture of your cameras, your real face" in said.err
    assert [file.name for file in folder.iterdir()] == ["2-C920-HD.png"]
    still = cv2.imread(str(folder / "2-C920-HD.png"))
    assert tuple(still[24, 32]) == (30, 200, 20)  # BGR: settled, not the dark first picture
    assert f"still: {folder / '2-C920-HD.png'} (64x48 at 10 fps)" in said.out
    assert "no still: camera 6 may not be opened" in said.out


def test_preview_into_a_file_is_one_line(
    cameras: list[CameraInfo], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    cameras.append(C920)
    (tmp_path / "file").touch()
    assert main(["cameras", "--preview", str(tmp_path / "file")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "name a folder" in said

import logging
from pathlib import Path

import pytest

from realtime.choice import recall, remember
from realtime.devices import CameraInfo

C920 = CameraInfo(2, "HD Pro Webcam C920", "/dev/video2", "usb-046d_A1", "pci-1", driver="uvc")


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("PUPPETCAM_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def test_the_choice_is_kept_by_name_and_not_by_number(folder: Path) -> None:
    assert recall() is None
    remember(C920)
    assert recall() == CameraInfo(-1, "HD Pro Webcam C920", serial="usb-046d_A1", port="pci-1")
    remember(CameraInfo(0, "Integrated"))
    assert recall() == CameraInfo(-1, "Integrated")
    assert [file.name for file in folder.iterdir()] == ["camera.json"]


def test_a_camera_without_a_name_is_not_kept() -> None:
    remember(C920)
    remember(CameraInfo(7, ""))
    assert recall() == CameraInfo(-1, C920.name, serial=C920.serial, port=C920.port)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 1}', "\x00", "null"])
def test_a_damaged_file_is_told_and_counts_as_none(
    folder: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir()
    (folder / "camera.json").write_text(text)
    assert recall() is None
    assert len(caplog.messages) == 1
    assert "camera.json cannot be read" in caplog.messages[0]


def test_a_folder_that_cannot_be_written_is_told_and_stops_nothing(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        remember(C920)
    assert len(caplog.messages) == 1
    assert "the choice of the camera cannot be kept" in caplog.messages[0]

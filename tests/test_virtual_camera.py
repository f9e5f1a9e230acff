import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import pyvirtualcam

from config.errors import SinkError
from config.schema import OutputSettings
from realtime.frame import Frame, Image
from realtime.sinks import open_sink
from realtime.virtual_camera import VirtualCamera, advice

SETTINGS = OutputSettings(width=64, height=48, fps=30)


def plain(red: int, green: int = 0, blue: int = 0) -> Image:
    return np.full((48, 64, 3), (red, green, blue), np.uint8)


def frame(image: Image, at_s: float = 0.0, index: int = 0) -> Frame:
    return Frame(image, 1000 + at_s, index)


class Backend:
    """A pyvirtualcam back end as its documentation asks for, keeping what it gets."""

    opened: list["Backend"] = []  # noqa: RUF012
    fail_sends = False

    def __init__(
        self, *, width: int, height: int, fps: float, fourcc: int, device: str | None, **_: Any
    ) -> None:
        if device not in (None, "Test Camera"):
            raise RuntimeError(f"no device {device}")
        self.asked = (width, height, fps, fourcc)
        self.frames: list[np.ndarray] = []
        self.closes = 0
        Backend.opened.append(self)

    def send(self, frame: np.ndarray) -> None:
        if Backend.fail_sends:
            raise RuntimeError("the device is gone")
        self.frames.append(frame.copy())

    def close(self) -> None:
        self.closes += 1

    def device(self) -> str:
        return "Test Camera"

    def native_fourcc(self) -> None:
        return None


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Backend]]:
    known = dict(pyvirtualcam.camera.BACKENDS)
    pyvirtualcam.camera.BACKENDS.clear()  # a real device of this machine is left alone
    pyvirtualcam.register_backend("test", Backend)
    monkeypatch.setattr(Backend, "opened", [])
    monkeypatch.setattr(Backend, "fail_sends", False)
    yield Backend
    pyvirtualcam.camera.BACKENDS.clear()
    pyvirtualcam.camera.BACKENDS.update(known)


def test_virtual_camera_gets_the_very_pixels_as_red_green_blue(backend: type[Backend]) -> None:
    image = np.random.default_rng(2).integers(0, 256, (48, 64, 3), np.uint8)
    sink = open_sink("virtualcam:Test Camera", SETTINGS)
    sink.send(frame(image))
    sink.send(frame(plain(255, 128, 0)))
    (device,) = backend.opened
    raw = sum(ord(letter) << 8 * place for place, letter in enumerate("raw "))  # libyuv's RGB24
    assert device.asked == (64, 48, 30.0, raw)
    np.testing.assert_array_equal(device.frames[0], image.reshape(-1))
    assert device.frames[1][:6].tolist() == [255, 128, 0, 255, 128, 0]
    assert sink.name == "virtualcam (Test Camera)"
    assert sink.repeat_fps == 30


def test_virtual_camera_is_opened_once_and_closed_once(backend: type[Backend]) -> None:
    sink = VirtualCamera(SETTINGS)
    for number in range(5):
        sink.send(frame(plain(number)))
    sink.close()
    sink.close()
    assert len(backend.opened) == 1
    assert backend.opened[0].closes == 1


def test_picture_of_another_size_is_fitted_into_the_one_that_was_opened(
    backend: type[Backend],
) -> None:
    sink = VirtualCamera(SETTINGS)
    sink.send(frame(np.full((480, 480, 3), 200, np.uint8)))
    sink.send(frame(plain(9)))
    sent = backend.opened[0].frames[0].reshape(48, 64, 3)
    assert (sent[:, 8:56] == 200).all()
    assert not sent[:, :8].any()
    assert not sent[:, 56:].any()
    assert len(backend.opened) == 1
    assert len(backend.opened[0].frames) == 2


def test_device_that_goes_away_is_a_sink_error(backend: type[Backend]) -> None:
    sink = VirtualCamera(SETTINGS)
    backend.fail_sends = True
    with pytest.raises(SinkError, match="took no picture: the device is gone"):
        sink.send(frame(plain(1)))


@pytest.mark.usefixtures("backend")
def test_missing_virtual_camera_is_one_line_with_cause_and_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("realtime.virtual_camera.advice", lambda device: ("no module", "load it"))
    with pytest.raises(SinkError) as error:
        open_sink("virtualcam:/dev/video77", SETTINGS)
    assert str(error.value) == "virtualcam:/dev/video77 cannot be opened: no module; load it"
    monkeypatch.setattr("realtime.virtual_camera.advice", lambda device: ("", "look again"))
    with pytest.raises(SinkError, match=r"no device /dev/video77; look again") as error:
        open_sink("virtualcam:/dev/video77", SETTINGS)
    assert "\n" not in str(error.value)


def test_the_cure_is_that_of_the_system() -> None:
    for platform, version in (("win32", "OBS Studio ("), ("darwin", "OBS Studio 30 or newer")):
        cause, cure = advice(None, platform)
        assert cause == ""
        assert f"install {version}" in cure
        assert "stop it again" in cure


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="v4l2loopback is Linux's")
def test_the_cure_on_linux_loads_the_module() -> None:
    assert "sudo modprobe" in advice(None)[1] or "usermod" in advice(None)[1]

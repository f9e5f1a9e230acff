import errno
import itertools
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import pyvirtualcam

from config.errors import SinkError
from config.schema import OutputSettings
from realtime import sinks
from realtime.frame import Frame, Image
from realtime.sinks import (
    MODPROBE,
    MemorySink,
    Sink,
    VideoWriter,
    VirtualCamera,
    Window,
    draw_lines,
    open_sink,
    virtualcam_advice,
)

SETTINGS = OutputSettings(width=64, height=48, fps=30)
ROOT = Path(__file__).parents[1]


def plain(red: int, green: int = 0, blue: int = 0) -> Image:
    return np.full((48, 64, 3), (red, green, blue), np.uint8)


def frame(image: Image, at_s: float = 0.0, index: int = 0) -> Frame:
    return Frame(image, 1000 + at_s, index)


def send_all(sink: Sink, frames: list[Frame]) -> None:
    for one in frames:
        sink.send(one)


def pictures(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


# --- which output ---


@pytest.mark.parametrize(
    "text", ["", "obs", "virtualcam:", "file", "file:", "window:1", "memory:2"]
)
def test_unknown_output_is_told_with_what_there_is(text: str) -> None:
    with pytest.raises(SinkError, match=r"is no output; give virtualcam.*file:NAME\.mp4"):
        open_sink(text, SETTINGS)


def test_memory_keeps_the_newest_and_counts_all() -> None:
    sink = open_sink("memory", SETTINGS)
    assert isinstance(sink, MemorySink)
    small = MemorySink(keep=3)
    for number in range(10):
        small.send(frame(plain(number), index=number))
    small.close()
    small.close()
    assert [kept.index for kept in small.frames] == [7, 8, 9]
    assert small.count == 10


# --- virtual camera ---


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


def test_picture_of_another_size_is_refused(backend: type[Backend]) -> None:
    sink = VirtualCamera(SETTINGS)
    with pytest.raises(SinkError, match="took no picture"):
        sink.send(frame(np.zeros((10, 10, 3), np.uint8)))
    assert backend.opened[0].frames == []


def test_device_that_goes_away_is_a_sink_error(backend: type[Backend]) -> None:
    sink = VirtualCamera(SETTINGS)
    backend.fail_sends = True
    with pytest.raises(SinkError, match="took no picture: the device is gone"):
        sink.send(frame(plain(1)))


@pytest.mark.usefixtures("backend")
def test_missing_virtual_camera_is_one_line_with_the_reason_and_the_cure() -> None:
    with pytest.raises(SinkError, match="no device /dev/video77") as error:
        open_sink("virtualcam:/dev/video77", SETTINGS)
    assert "\n" not in str(error.value)
    assert virtualcam_advice() in str(error.value)


def test_the_cure_is_that_of_the_system(tmp_path: Path) -> None:
    assert "install OBS" in virtualcam_advice("win32")
    assert "install OBS" in virtualcam_advice("darwin")
    absent = virtualcam_advice("linux", tmp_path / "v4l2loopback")
    assert MODPROBE in absent
    assert "Secure Boot" in absent
    busy = virtualcam_advice("linux", tmp_path)
    assert "close the program" in busy
    assert "modprobe -r v4l2loopback" in busy
    assert MODPROBE == "sudo modprobe v4l2loopback devices=1 exclusive_caps=1 card_label=puppetcam"


# --- video file ---


def test_film_has_the_pictures_and_the_rate(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    sink = open_sink(f"file:{path}", SETTINGS)
    colours = [(200, 30, 40), (40, 180, 60), (50, 60, 210)]
    for number in range(45):
        sink.send(frame(plain(*colours[number // 15]), number / 30, number))
    sink.close()
    sink.close()
    shown = pictures(path)
    assert len(shown) == 45
    assert [p.time for p in shown] == pytest.approx([n / 30 for n in range(45)])
    assert (shown[0].width, shown[0].height, shown[0].format.name) == (64, 48, "yuv420p")
    for number in (7, 22, 37):
        middle = shown[number].to_ndarray(format="rgb24")[24, 32]
        np.testing.assert_allclose(middle, colours[number // 15], atol=8)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert float(container.streams.video[0].average_rate) == pytest.approx(30, rel=0.01)


def shades(path: Path) -> list[int]:
    """The grey of each picture, in steps of 20."""
    greys = [p.to_ndarray(format="rgb24")[24, 32].mean() for p in pictures(path)]
    return [round(float(grey) / 20) for grey in greys]


def test_gap_is_filled_with_the_frame_before_it(tmp_path: Path) -> None:
    sink = VideoWriter(tmp_path / "x.mp4", SETTINGS)
    for step, at_s in ((2, 0.0), (5, 1 / 30), (9, 6 / 30)):
        sink.send(frame(plain(*[20 * step] * 3), at_s))
    sink.close()
    assert shades(tmp_path / "x.mp4") == [2, 5, 5, 5, 5, 5, 9]


def test_frames_that_come_too_close_are_left_out(tmp_path: Path) -> None:
    sink = VideoWriter(tmp_path / "x.mp4", SETTINGS)
    for number in range(40):  # 120 fps for a third of a second
        sink.send(frame(plain(100), number / 120))
    sink.close()
    assert len(pictures(tmp_path / "x.mp4")) == pytest.approx(10, abs=1)


@pytest.mark.parametrize("phase", [0.0, 0.25, 0.5, 0.75])
def test_jitter_of_a_camera_makes_no_double_frames(tmp_path: Path, phase: float) -> None:
    late = np.random.default_rng(4).uniform(-0.24, 0.24, 60)
    late[0] = -phase  # where the beat of the file lies against the camera's
    sink = VideoWriter(tmp_path / "x.mp4", SETTINGS)
    for number in range(60):
        sink.send(frame(plain(20 * (1 + number % 10)), (number + late[number]) / 30))
    sink.close()
    greys = [p.to_ndarray(format="rgb24")[24, 32, 0] for p in pictures(tmp_path / "x.mp4")]
    steps = [round(float(grey) / 20) for grey in greys]
    assert sum(a == b for a, b in itertools.pairwise(steps)) <= 1
    assert len(steps) == pytest.approx(60, abs=1)


def test_long_sleep_is_left_out(tmp_path: Path) -> None:
    sink = VideoWriter(tmp_path / "x.mp4", SETTINGS)
    for at_s in (0, 1 / 30, 3600, 3600 + 1 / 30):
        sink.send(frame(plain(100), at_s))
    sink.close()
    assert len(pictures(tmp_path / "x.mp4")) == 4


def test_recording_without_a_frame_leaves_things_as_they_were(tmp_path: Path) -> None:
    new, old = tmp_path / "new.mp4", tmp_path / "old.mp4"
    old.write_bytes(b"precious")
    for path in (new, old):
        VideoWriter(path, SETTINGS).close()
    assert not new.exists()
    assert old.read_bytes() == b"precious"


def test_killed_recording_plays(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    script = f"""
        import os, numpy as np
        from pathlib import Path
        from config.schema import OutputSettings
        from realtime.frame import Frame
        from realtime.sinks import VideoWriter
        sink = VideoWriter(Path({str(path)!r}), OutputSettings(width=64, height=48, fps=30))
        for n in range(100):
            sink.send(Frame(np.full((48, 64, 3), n, np.uint8), n / 30, n))
        os._exit(9)
    """
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, timeout=60, check=False
    )
    assert killed.returncode == 9
    assert 90 <= len(pictures(path)) <= 100  # whole seconds at least


@pytest.mark.skipif(os.name == "nt", reason="file size limits are POSIX")
def test_write_error_keeps_what_was_written_playable(tmp_path: Path) -> None:
    import resource

    noise = np.random.default_rng(6).integers(0, 256, (48, 64, 3), np.uint8)
    path = tmp_path / "x.mp4"
    sink = VideoWriter(path, SETTINGS)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        films = [frame(np.roll(noise, n, 1) ^ n % 256, n / 30) for n in range(300)]
        with pytest.raises(SinkError, match=r"x\.mp4 stopped at \d\.\d s: File too large") as error:
            send_all(sink, films)
        sink.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "what was written until then plays" in str(error.value)
    assert 10_000 < path.stat().st_size < 100_000
    shown = pictures(path)  # raises where the end is cut
    assert 15 < len(shown) < 300
    with pytest.raises(SinkError, match="is closed"):
        sink.send(frame(noise, 99))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_full_disk_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").symlink_to("/dev/full")
    sink = VideoWriter(tmp_path / "x.mp4", SETTINGS)
    with pytest.raises(SinkError, match=os.strerror(errno.ENOSPC) + "; free some space") as error:
        send_all(sink, [frame(plain(50), n / 30) for n in range(100)])
    assert "\n" not in str(error.value)


def test_file_that_cannot_be_is_told_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"must end in \.mp4"):
        open_sink(f"file:{tmp_path}/x.avi", SETTINGS)
    with pytest.raises(SinkError, match="cannot be written: No such file or directory"):
        open_sink(f"file:{tmp_path}/nowhere/x.mp4", SETTINGS)
    with pytest.raises(SinkError, match=r"takes pictures of 64x48, got 20x10"):
        open_sink(f"file:{tmp_path}/x.mp4", SETTINGS).send(frame(np.zeros((10, 20, 3), np.uint8)))


# --- window ---


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="displays as Linux has them")
@pytest.mark.parametrize(
    ("display", "wayland", "message"),
    [
        (None, None, "needs a display, found none"),
        (None, "wayland-0", r"found only Wayland \(start XWayland\)"),
        (":987", None, "no window can be opened on DISPLAY=:987"),
    ],
)
def test_missing_display_is_an_error_and_no_abort(
    monkeypatch: pytest.MonkeyPatch, display: str | None, wayland: str | None, message: str
) -> None:
    for name, value in (("DISPLAY", display), ("WAYLAND_DISPLAY", wayland)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(SinkError, match=message):
        open_sink("window", SETTINGS)


def test_text_is_drawn_on_a_copy() -> None:
    image = np.full((480, 640, 3), 90, np.uint8)
    drawn = draw_lines(image, ("29.9 fps", "LIVE"))
    assert (image == 90).all()
    changed = (drawn != 90).any(2)
    assert changed[:60, :200].sum() > 200
    assert not changed[100:].any()
    assert draw_lines(image, ()) is image


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if shutil.which("Xvfb") is None:
        pytest.skip("needs Xvfb, a display without a screen")
    reader, writer = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", "800x600x24"],
        pass_fds=(writer,),
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    with os.fdopen(reader) as numbers:
        monkeypatch.setenv("DISPLAY", f":{numbers.readline().strip()}")
    yield
    server.terminate()
    server.wait(10)


@pytest.mark.usefixtures("display")
def test_windows_show_output_and_private_preview() -> None:
    # In a process of its own: Qt keeps its display for good.
    script = """
        import cv2, numpy as np
        from config.schema import OutputSettings
        from realtime.frame import Frame
        from realtime.sinks import Window, open_sink
        window = open_sink("window", OutputSettings())
        shown = []
        imshow = cv2.imshow
        cv2.imshow = lambda title, bgr: (shown.append((title, bgr.copy())), imshow(title, bgr))
        orange = np.full((480, 640, 3), (250, 128, 0), np.uint8)
        window.send(Frame(orange, 0.0, 0))
        assert shown[-1][0] == Window.OUTPUT, shown[-1][0]
        assert shown[-1][1][9, 9].tolist() == [0, 128, 250], "OpenCV's order is blue, green, red"
        window.info = ("30 fps",)
        window.send(Frame(orange, 0.1, 1))
        assert (shown[-1][1] != shown[0][1]).any() and (orange == (250, 128, 0)).all()
        assert "private" in Window.PREVIEW and "never sent" in Window.PREVIEW
        window.preview(np.zeros((256, 256, 3), np.uint8))
        assert shown[-1][0] == Window.PREVIEW and len(shown) == 3
        assert window.pressed() == []
        assert not window.closed
        cv2.destroyWindow(Window.PREVIEW)  # as the user does
        assert window.closed
        window.preview(np.zeros((256, 256, 3), np.uint8))
        assert window.closed, "a closed window stays closed"
        window.close()
        window.close()
        print("seen")
    """
    seen = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT, timeout=60, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert seen.stdout.strip() == "seen", seen.stderr


def test_keys_without_a_character_are_no_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    # As OpenCV's Qt and GTK windows give them: up (its low byte is an R), shift, F1; A; ESC;
    # and an X with num lock on.
    waiting = iter([0xFF52, 0xFFE1, 0xFFBE, 0x61, 0x1B, 0x100058, -1])
    monkeypatch.setattr(cv2, "pollKey", lambda: next(waiting, -1))
    monkeypatch.setattr(sinks, "_check_display", lambda: None)
    window = Window()
    assert window.pressed() == [ord("a"), 27, ord("X")]
    assert window.pressed() == []

import logging
import os
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from config.errors import SourceError
from config.schema import CameraSettings
from realtime.camera import (
    CameraInfo,
    VideoFile,
    Webcam,
    camera_index,
    list_cameras,
    open_source,
    open_webcam,
)
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


def write_video(
    path: Path,
    images: list[Image],
    stamps: list[int] | None = None,
    fps: int = 25,
    rotation: int = 0,
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "0"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv444p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, fps)
        if rotation:
            stream.set_display_rotation(rotation)
        for number, image in enumerate(images):
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            picture.pts = stamps[number] if stamps else number
            picture.time_base = Fraction(1, fps)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


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
    assert caplog.messages == ["camera 0 gives 1280x720 at 10 fps, asked for 64x48 at 30"]
    assert (camera.width, camera.height, camera.fps) == (1280, 720, 10)


def test_camera_that_does_not_tell_its_rate_is_taken_at_the_asked_one() -> None:
    device = Device([], Clock())
    device.fps = 0.0
    assert webcam(device).fps == 30


def test_missing_camera_is_one_line_with_what_to_do() -> None:
    with pytest.raises(SourceError, match="camera 63") as error:
        open_source("camera:63", SETTINGS)
    assert "\n" not in str(error.value)


def opened(device: Device, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float]]:
    """Has OpenCV open ``device`` on a system where device nodes play no part; what is set on it."""
    asked: list[tuple[int, float]] = []
    device.set = lambda what, value: asked.append((what, value))  # type: ignore[attr-defined]
    monkeypatch.setattr("realtime.camera.sys.platform", "win32")
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: device)
    return asked


def test_compressed_pictures_are_asked_for_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = opened(Device([plain((0, 0, 0))], Clock()), monkeypatch)
    open_webcam("0", SETTINGS).close()
    mjpg = sum(ord(letter) << 8 * place for place, letter in enumerate("MJPG"))
    assert asked == [
        (cv2.CAP_PROP_FOURCC, mjpg),
        (cv2.CAP_PROP_FRAME_WIDTH, 64),
        (cv2.CAP_PROP_FRAME_HEIGHT, 48),
        (cv2.CAP_PROP_FPS, 30.0),
    ]


def test_busy_camera_is_one_line_and_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device([plain((0, 0, 0))], Clock())
    device.opened = False
    opened(device, monkeypatch)
    with pytest.raises(SourceError, match="in use by another program") as error:
        open_webcam("0", SETTINGS)
    assert "\n" not in str(error.value)


# --- names ---

CAMERAS = [
    CameraInfo(0, "Integrated Camera", "/dev/video0", "", False),
    CameraInfo(2, "HD Pro Webcam C920", "/dev/video2", "usb-046d_HD_Pro_A1-video-index0", False),
    CameraInfo(4, "HD Pro Webcam C920", "/dev/video4", "usb-046d_HD_Pro_B2-video-index0", False),
    CameraInfo(9, "puppetcam", "/dev/video9", "", True),
]


@pytest.mark.parametrize(
    ("which", "index"),
    [
        ("0", 0),
        ("7", 7),
        ("/dev/video2", 2),
        ('"Integrated Camera"', 0),
        ("integrated", 0),
        ("Pro_B2", 4),
        ("puppetcam", 9),
    ],
)
def test_camera_is_found_by_index_path_name_and_serial(which: str, index: int) -> None:
    assert camera_index(which, CAMERAS, "linux") == index


@pytest.mark.parametrize(
    ("which", "cameras", "platform", "message"),
    [
        ("C920", CAMERAS, "linux", r"fits several cameras; found camera:2 .*camera:4"),
        ("Kinect", CAMERAS, "linux", r"no camera is named 'Kinect'; found camera:0 \(Integrated"),
        ("Kinect", [], "linux", "no camera is connected"),
        ('""', CAMERAS, "linux", "needs an index or a name"),
        ("Integrated", CAMERAS, "win32", "by name on Linux only; use an index"),
        ("9" * 20, [], "win32", "use an index, e.g. camera:0"),
        ("-1", CAMERAS, "linux", "no camera is named '-1'"),
    ],
)
def test_camera_that_is_not_found_or_not_clear(
    which: str, cameras: list[CameraInfo], platform: str, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        camera_index(which, cameras, platform)


@pytest.mark.skipif(os.name == "nt", reason="symbolic links as Linux makes them")
def test_cameras_are_listed_without_metadata_nodes(tmp_path: Path) -> None:
    root, by_id = tmp_path / "class", tmp_path / "by-id"
    nodes = [("video10", "Late", "0"), ("video0", "Cam", "0"), ("video1", "Cam", "1")]
    for node, name, index in nodes:
        (root / node).mkdir(parents=True)
        (root / node / "name").write_text(name + "\n")
        (root / node / "index").write_text(index + "\n")
    loopback = tmp_path / "devices/virtual/video4linux/video4"
    loopback.mkdir(parents=True)
    (loopback / "name").write_text("puppetcam\n")
    (root / "video4").symlink_to(loopback)
    by_id.mkdir()
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/video0").touch()
    (by_id / "usb-Cam_1-video-index0").symlink_to(tmp_path / "dev/video0")
    assert list_cameras(root, by_id) == [
        CameraInfo(0, "Cam", "/dev/video0", "usb-Cam_1-video-index0", False),
        CameraInfo(4, "puppetcam", "/dev/video4", "", True),
        CameraInfo(10, "Late", "/dev/video10", "", False),
    ]


def test_without_cameras_the_list_is_empty(tmp_path: Path) -> None:
    assert list_cameras(tmp_path / "none", tmp_path / "none") == []


# --- video files ---


def test_film_gives_each_frame_once_in_its_colours_and_time(tmp_path: Path) -> None:
    clock = Clock()
    path = write_video(tmp_path / "film.mp4", [plain(c) for c in COLOURS])
    film = VideoFile(path, clock)
    assert (film.width, film.height, film.fps, film.live) == (64, 48, 25, False)
    frames = []
    while (frame := film.read()) is not None:
        frames.append(frame)
        clock.now += 10  # a slow reader does not stretch the film
    assert [f.index for f in frames] == [0, 1, 2, 3, 4]
    assert [f.captured_at for f in frames] == pytest.approx([50, 50.04, 50.08, 50.12, 50.16])
    for frame, colour in zip(frames, COLOURS, strict=True):
        np.testing.assert_allclose(frame.image[24, 32], colour, atol=6)
    assert film.read() is None
    film.close()
    film.close()
    assert film.read() is None


def test_uneven_time_stamps_are_kept(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", [plain(c) for c in COLOURS], [0, 1, 5, 6, 20])
    film = VideoFile(path, Clock())
    times = [frame.captured_at for frame in iter(film.read, None)]
    assert times == pytest.approx([50, 50.04, 50.2, 50.24, 50.8])


@pytest.mark.parametrize(("degrees", "corner"), [(90, (-1, 0)), (-90, (0, -1)), (180, (-1, -1))])
def test_film_taken_sideways_is_turned_upright(
    tmp_path: Path, degrees: int, corner: tuple[int, int]
) -> None:
    # A telephone stores the picture lying and the turn (counter-clockwise) beside it: the white
    # corner, top left as stored, must stand where that turn takes it.
    stored = plain((0, 0, 0))
    stored[:16, :16] = 255
    film = VideoFile(write_video(tmp_path / "film.mp4", [stored] * 3, rotation=degrees))
    frame = film.read()
    assert frame is not None
    assert (film.height, film.width) == frame.image.shape[:2]
    assert frame.image.shape == ((48, 64, 3) if degrees == 180 else (64, 48, 3))
    row, column = (4 if at == 0 else -4 for at in corner)
    assert frame.image[row, column].min() > 200
    assert frame.image[-row, -column].max() < 50


def test_file_that_is_no_video_is_one_line_telling_why(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "page.mp4").write_text("<html>not found</html>" * 50)
    (tmp_path / "folder.mp4").mkdir()
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        silence.rate = 44100
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    film = write_video(tmp_path / "film.mp4", [plain(c) for c in COLOURS])
    (tmp_path / "cut.mp4").write_bytes(film.read_bytes()[:300])
    for name, message in {
        "empty": r"is empty \(0 bytes\)",
        "page": "is not a readable video",
        "folder": "is a folder",
        "song": r"has no pictures \(sound only",
        "cut": "is not a readable video|no picture that can be decoded",
        "missing": "does not exist",
    }.items():
        with pytest.raises(SourceError, match=message) as error:
            open_source(str(tmp_path / f"{name}.mp4"), SETTINGS)
        assert "\n" not in str(error.value)
        assert f"{name}.mp4" in str(error.value)


def test_damaged_stretch_is_skipped_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pictures = np.random.default_rng(5).integers(0, 256, (60, 48, 64, 3), np.uint8)
    path = write_video(tmp_path / "film.mp4", list(pictures))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 30_000] = bytes(30_000)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING, "realtime.camera"):
        film = VideoFile(path, Clock())
        times = [frame.captured_at for frame in iter(film.read, None)]
    assert 20 < len(times) < 60
    assert np.all(np.diff(times) > 0)
    assert [m for m in caplog.messages if "film.mp4 is damaged at" in m] == caplog.messages
    assert len(caplog.messages) == 1

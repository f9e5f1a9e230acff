import logging
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from config.errors import SourceError
from config.schema import CameraSettings
from realtime.camera import open_source
from realtime.frame import Image
from realtime.video import PictureFolder, VideoFile

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
    with caplog.at_level(logging.WARNING, "realtime.video"):
        film = VideoFile(path, Clock())
        times = [frame.captured_at for frame in iter(film.read, None)]
    assert 20 < len(times) < 60
    assert np.all(np.diff(times) > 0)
    assert [m for m in caplog.messages if "film.mp4 is damaged at" in m] == caplog.messages
    assert len(caplog.messages) == 1


def test_folder_of_pictures_plays_by_number_at_a_steady_rate(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, colour in zip(("10.png", "2.png", "1.PNG"), COLOURS, strict=False):
        cv2.imwrite(str(tmp_path / name.lower()), plain(colour)[..., ::-1])
    (tmp_path / "3.png").write_text("no picture")
    (tmp_path / "notes.txt").write_text("neither")
    clock = Clock()
    folder = PictureFolder(tmp_path, 20, clock)
    assert (folder.width, folder.height, folder.fps, folder.live) == (64, 48, 20, False)
    frames = list(iter(folder.read, None))
    assert [tuple(frame.image[24, 32]) for frame in frames] == [COLOURS[2], COLOURS[1], COLOURS[0]]
    assert [frame.captured_at for frame in frames] == pytest.approx([50, 50.05, 50.1])
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [message.partition(":")[0] for message in caplog.messages] == ["left out"]
    folder.close()
    folder.close()
    assert folder.read() is None


def test_folder_without_pictures_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no picture; put the frames of a film into it"):
        open_source(str(tmp_path), SETTINGS)
    (tmp_path / "1.png").write_text("no picture")
    with pytest.raises(SourceError, match="none of its 1 pictures can be read"):
        open_source(str(tmp_path), SETTINGS)

import errno
import itertools
import os
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from config.errors import SinkError
from config.schema import OutputSettings
from realtime.frame import Frame, Image
from realtime.recording import VideoWriter
from realtime.sinks import Sink, open_sink

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


@pytest.mark.parametrize(("suffix", "codec"), [("mov", "qtrle"), ("webm", "vp9")])
def test_mov_and_webm_keep_transparency(tmp_path: Path, suffix: str, codec: str) -> None:
    path = tmp_path / f"x.{suffix}"
    sink = open_sink(f"file:{path}", SETTINGS)
    image = plain(0, 255)
    image[:, 32:] = (200, 60, 40)
    alpha = np.zeros((48, 64), np.uint8)
    alpha[:, 32:] = 255
    for number in range(30):
        sink.send(Frame(image, 1000 + number / 30, number, alpha if number < 20 else None))
    sink.close()
    # FFmpeg's own decoder of VP9 leaves alpha out; libvpx's has it.
    decoder = {"webm": "libvpx-vp9"}.get(suffix, codec)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == codec
        reader = av.CodecContext.create(decoder, "r")
        if stream.codec_context.extradata:
            reader.extradata = stream.codec_context.extradata
        reader.width, reader.height = 64, 48
        if suffix == "mov":
            shown = list(container.decode(stream))
        else:
            shown = [one for packet in container.demux(stream) for one in reader.decode(packet)]
    assert len(shown) == 30
    first, last = (shown[n].to_ndarray(format="rgba").astype(int) for n in (10, 29))
    assert first[:, :28, 3].max() <= 4
    assert first[:, 36:, 3].min() >= 250
    np.testing.assert_allclose(first[24, 50, :3], (200, 60, 40), atol=12)
    assert last[..., 3].min() >= 250  # a frame without transparency is opaque


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

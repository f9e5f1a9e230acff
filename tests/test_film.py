"""The film that animate writes: times, sound, and that it is all there or not there at all."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from performed import NTSC, read_video, write_video

from config.errors import SinkError
from puppetcam.film import Film, check_output
from realtime.codec import TRANSPARENT_FILM
from realtime.frame import Frame

FRAMES = 24


def greys(count: int = FRAMES) -> list[np.ndarray]:
    return [np.full((64, 64, 3), 8 * number, np.uint8) for number in range(count)]


def write(path: Path, driving: Path, times: list[float]) -> None:
    with Film(path, driving, 64, 64) as film:
        for image, time_s in zip(greys(len(times)), times, strict=True):
            film.write(Frame(image, time_s, 0))
        film.finish()


def sound_of(path: Path) -> tuple[str, list[bytes], float]:
    with av.open(str(path)) as container:
        track = container.streams.audio[0]
        packets = [packet for packet in container.demux(track) if packet.size]
        name = track.codec_context.codec.canonical_name
        end = max(float((one.pts + one.duration) * one.time_base) for one in packets)
        return name, [bytes(packet) for packet in packets], end


@pytest.mark.parametrize("rate", [Fraction(25), NTSC, Fraction(24000, 1001), Fraction(60)])
def test_rate_and_pictures_are_the_driving_videos(tmp_path: Path, rate: Fraction) -> None:
    driving = write_video(tmp_path / "driving.mp4", greys(), rate)
    write(tmp_path / "film.mp4", driving, read_video(driving)[1])
    images, times = read_video(tmp_path / "film.mp4")
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert container.streams.video[0].average_rate == rate
    assert times == pytest.approx([number / float(rate) for number in range(FRAMES)], abs=1e-5)
    assert [round(float(image.mean()) / 8) for image in images] == list(range(FRAMES))


def test_varying_rate_is_kept(tmp_path: Path) -> None:
    gaps = [Fraction(1, 30), Fraction(1, 12), Fraction(1, 50)] * 8
    stamps = [sum(gaps[:number], Fraction(0)) for number in range(FRAMES)]
    driving = write_video(tmp_path / "driving.mp4", greys(), Fraction(30), times=stamps)
    write(tmp_path / "film.mp4", driving, [float(stamp) for stamp in stamps])
    _, times = read_video(tmp_path / "film.mp4")
    assert times == pytest.approx([float(stamp) for stamp in stamps], abs=2e-5)


def test_milliseconds_of_matroska_become_exact_again(tmp_path: Path) -> None:
    driving = write_video(tmp_path / "driving.mkv", greys(), Fraction(30))
    stamps = read_video(driving)[1]
    assert stamps[1] == pytest.approx(0.033)
    write(tmp_path / "film.mp4", driving, stamps)
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert container.streams.video[0].average_rate == 30
    assert read_video(tmp_path / "film.mp4")[1] == pytest.approx(np.arange(FRAMES) / 30, abs=1e-5)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_sound_is_copied_packet_by_packet(tmp_path: Path, suffix: str) -> None:
    driving = write_video(tmp_path / "driving.mp4", greys(), NTSC, sound="aac")
    write(tmp_path / f"film{suffix}", driving, read_video(driving)[1])
    name, packets, _ = sound_of(tmp_path / f"film{suffix}")
    before = sound_of(driving)
    assert name == "aac"
    assert len(packets) >= FRAMES / float(NTSC) * 48_000 / 1024 - 1
    # The encoder's priming lies before the first picture and is left out.
    assert packets == before[1][-len(packets) :]
    assert len(before[1]) - len(packets) <= 1


def test_sound_that_an_mp4_cannot_hold_becomes_aac(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    driving = write_video(tmp_path / "driving.mkv", greys(), Fraction(24), sound="pcm_s16le")
    write(tmp_path / "film.mp4", driving, read_video(driving)[1])
    name, _, end = sound_of(tmp_path / "film.mp4")
    assert name == "aac"
    assert end == pytest.approx(1.0, abs=0.05)
    assert "becomes AAC" in caplog.text


def test_no_sound_is_no_track(tmp_path: Path) -> None:
    driving = write_video(tmp_path / "driving.mp4", greys(), NTSC)
    write(tmp_path / "film.mp4", driving, read_video(driving)[1])
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert len(container.streams.audio) == 0


def test_a_failure_leaves_nothing_and_touches_nothing(tmp_path: Path) -> None:
    driving = write_video(tmp_path / "driving.mp4", greys(), NTSC, sound="aac")
    film = tmp_path / "film.mp4"
    film.write_bytes(b"what was there before")

    def interrupted() -> None:
        with Film(film, driving, 64, 64) as writing:
            for number, image in enumerate(greys()):
                writing.write(Frame(image, number / 30, number))
            assert len(list(tmp_path.iterdir())) == 3  # driving, film and the unfinished one
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["driving.mp4", "film.mp4"]
    assert film.read_bytes() == b"what was there before"


def test_a_finished_film_replaces_the_old_one_and_closing_twice_is_fine(tmp_path: Path) -> None:
    driving = write_video(tmp_path / "driving.mp4", greys(), NTSC)
    film = tmp_path / "film.mp4"
    film.write_bytes(b"old")
    with Film(film, driving, 64, 64) as writing:
        for number, image in enumerate(greys()):
            writing.write(Frame(image, number / 30, number))
        assert film.read_bytes() == b"old"
        writing.finish()
        writing.close()
    assert len(read_video(film)[0]) == FRAMES


def test_a_transparent_film_keeps_alpha_and_sound(tmp_path: Path) -> None:
    driving = write_video(tmp_path / "driving.mp4", greys(), NTSC, sound="aac")
    image = np.zeros((64, 64, 3), np.uint8)
    image[:] = (0, 255, 0)
    image[:, 32:] = (200, 60, 40)
    alpha = np.zeros((64, 64), np.uint8)
    alpha[:, 32:] = 255
    with Film(tmp_path / "film.mov", driving, 64, 64, TRANSPARENT_FILM) as film:
        for number in range(6):
            film.write(Frame(image, number / 30, number, alpha))
        film.finish()
    with av.open(str(tmp_path / "film.mov")) as container:
        assert container.streams.video[0].codec_context.name == "prores"
        assert len(container.streams.audio) == 1
        shown = next(container.decode(video=0)).to_ndarray(format="rgba").astype(int)
    assert shown[:, :30, 3].max() <= 2
    assert shown[:, 34:, 3].min() >= 253
    np.testing.assert_allclose(shown[32, 48, :3], (200, 60, 40), atol=6)


def test_where_no_film_can_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    for name, part in [
        ("film.webm", "must end in .mp4"),
        ("film", "must end in .mp4"),
        ("folder.mp4", "is a folder"),
        ("nowhere/film.mp4", "there is no folder"),
    ]:
        with pytest.raises(SinkError, match=part):
            check_output(tmp_path / name)

"""The reading side: what the mark survives, and that there is nothing where there is none."""

import cv2
import numpy as np
import pytest
from marked import FPS, PAYLOAD, Picture, coded, marked, scene

from provenance.detector import THRESHOLD, Reading, read_stills, read_video

Film = list[tuple[Picture, float]]


@pytest.fixture(scope="module")
def film() -> Film:
    return marked(scene(seconds=7), start_s=1234.567)


def each(film: Film, change) -> Film:
    return [(change(picture), time_s) for picture, time_s in film]


def read(film: Film) -> Reading:
    return read_video(film, 10.0)


def half(picture: Picture) -> Picture:
    return cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def jpeg(picture: Picture) -> Picture:
    return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 70])[1], 1)


def on_a_screen(picture: Picture) -> Picture:
    screen = np.full((720, 1280, 3), 40, np.uint8)
    screen[::7] = 220
    screen[200:488, 500:884] = cv2.resize(picture, (384, 288))
    return screen


def test_it_is_found_and_says_which_recording(film: Film) -> None:
    reading = read(film)
    assert reading.z > 20
    assert reading.payload == PAYLOAD
    place = reading.blocks[0].place
    assert place is not None
    assert place.left == pytest.approx(0, abs=0.02)
    assert place.width == pytest.approx(1, abs=0.02)
    assert not place.mirrored


@pytest.mark.parametrize(
    "change",
    [
        half,
        jpeg,
        lambda picture: picture[:, ::-1],
        lambda picture: picture[6:-6, 8:-8],  # 5 % of each side
        lambda picture: picture[12:, 16:],
        lambda picture: cv2.copyMakeBorder(picture, 0, 0, 54, 53, cv2.BORDER_CONSTANT),
        lambda picture: cv2.copyMakeBorder(picture, 60, 60, 0, 0, cv2.BORDER_CONSTANT),
        lambda picture: jpeg(half(picture[6:-6, 8:-8][:, ::-1])),
        on_a_screen,
    ],
    ids=["half", "jpeg", "mirror", "crop", "corner", "pillars", "letterbox", "all", "screen"],
)
def test_it_survives_changes_of_the_picture(film: Film, change) -> None:
    reading = read(each(film, change))
    assert reading.z >= THRESHOLD
    assert reading.payload == PAYLOAD


def test_the_place_is_told(film: Film) -> None:
    place = read(each(film, on_a_screen)).blocks[0].place
    assert place is not None
    assert place.left == pytest.approx(500 / 1280, abs=0.01)
    assert place.top == pytest.approx(200 / 720, abs=0.01)
    assert place.width == pytest.approx(384 / 1280, abs=0.01)
    assert place.height == pytest.approx(288 / 720, abs=0.01)
    turned = read(each(film, lambda picture: picture[:, ::-1])).blocks[0].place
    assert turned is not None
    assert turned.mirrored


@pytest.mark.parametrize("fps", [25, 60])
def test_it_survives_another_rate(film: Film, fps: int) -> None:
    """The frame that was last shown when each of the new ones is due."""
    times = np.arange(7 * fps) / fps
    converted = [(film[int(t * FPS + 1e-6)][0], float(t)) for t in times]
    reading = read(converted)
    assert reading.z >= THRESHOLD
    assert reading.payload == PAYLOAD


def test_it_survives_h264_at_crf_30_and_half_the_size() -> None:
    film = marked(scene(640, 480), start_s=77.7)
    reading = read(coded(film, {"crf": "30", "preset": "veryfast"}, size=(320, 240)))
    assert reading.z >= THRESHOLD


def test_it_survives_a_call(film: Film) -> None:
    """300 kbit/s, no frame held back, and a rate that wavers."""
    options = {"preset": "veryfast", "tune": "zerolatency", "maxrate": "300k", "bufsize": "300k"}
    kept = [one for number, one in enumerate(film) if number % 7 not in (2, 5)]
    assert read(coded(kept, options, bit_rate=300_000)).z >= THRESHOLD


def test_gaps_and_a_change_of_size_do_not_hide_it() -> None:
    film = marked(scene(seconds=14))
    parts = film[:110] + each(film[160:270], half) + film[280:]
    reading = read_video(parts, 14)
    assert reading.found
    assert reading.payload == PAYLOAD


def test_nothing_is_found_where_there_is_nothing() -> None:
    pictures = [(picture, number / FPS) for number, picture in enumerate(scene(seconds=5))]
    reading = read(pictures)
    assert not reading.found
    assert reading.z < THRESHOLD
    assert reading.payload is None
    assert reading.blocks[0].place is None


@pytest.mark.parametrize("value", [0, 128, 255])
def test_still_and_black_films_have_none(value: int) -> None:
    film = [(np.full((120, 160, 3), value, np.uint8), number / FPS) for number in range(120)]
    assert read(film).z == 0


def test_too_short_a_film_is_not_judged(film: Film) -> None:
    assert read(film[:40]).blocks == ()
    assert read([]).pictures == 0
    assert read(film[:60]).found


def test_screenshots() -> None:
    film = marked(scene(seconds=5))
    unmarked = scene(seconds=5)
    shots = [jpeg(film[number][0]) for number in range(0, 150, 40)]
    assert read_stills(shots).found
    assert not read_stills(unmarked[::70]).found
    assert not read_stills([]).found

"""The counter in a picture's corner, through what pictures go through."""

import io
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.counter import HEIGHT, NUMBERS, WIDTH, copy_counter, draw_counter, read_counter
from realtime.performer import perform


def picture() -> np.ndarray:
    return perform(3.0)[0].copy()


@given(st.integers(0, NUMBERS - 1))
def test_every_number_is_read_as_it_was_drawn(number: int) -> None:
    image = np.full((HEIGHT + 10, WIDTH + 30, 3), 90, np.uint8)
    draw_counter(image, number)
    assert read_counter(image) == number
    assert (image[HEIGHT:] == 90).all()
    assert (image[:, WIDTH:] == 90).all()


@pytest.mark.parametrize("number", [0, 1, 0x5555, 0xAAAA, 43210, NUMBERS - 1])
def test_a_number_survives_bad_jpeg(number: int) -> None:
    image = picture()
    draw_counter(image, number)
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 20])
    assert read_counter(cv2.imdecode(data, cv2.IMREAD_COLOR)) == number


def test_numbers_survive_coarse_h264() -> None:
    numbers = [7, 8, 9, 300, 65535]
    film = io.BytesIO()
    with av.open(film, "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=Fraction(30), options={"crf": "38"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for number in numbers:
            image = picture()
            draw_counter(image, number)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    film.seek(0)
    with av.open(film) as container:
        found = [
            read_counter(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)
        ]
    assert found == numbers


def test_pictures_without_a_number_give_none() -> None:
    image = picture()
    assert read_counter(image) is None
    assert read_counter(np.zeros((480, 640, 3), np.uint8)) is None
    assert read_counter(np.zeros((20, 20, 3), np.uint8)) is None
    random = np.random.default_rng(0)
    for _ in range(200):
        noise = random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        assert read_counter(noise) is None


def test_half_of_one_number_and_half_of_another_is_no_number() -> None:
    upper, lower = picture(), picture()
    draw_counter(upper, 0x1234)
    draw_counter(lower, 0x1277)
    upper[40:] = lower[40:]
    assert read_counter(upper) is None


def test_pixels_are_copied_as_they_are() -> None:
    source, target = picture(), np.zeros((100, 200, 3), np.uint8)
    draw_counter(source, 99)
    source[5, 5] = 77  # whatever a camera made of it
    copy_counter(source, target)
    np.testing.assert_array_equal(target[:HEIGHT, :WIDTH], source[:HEIGHT, :WIDTH])
    assert target[HEIGHT:].max() == 0
    assert target[:, WIDTH:].max() == 0

import numpy as np
import pytest

from realtime.compose import compose
from realtime.frame import Image


def noise(side: int) -> Image:
    return np.random.default_rng(3).integers(0, 256, (side, side, 3), np.uint8)


@pytest.mark.parametrize(
    ("width", "height"), [(640, 480), (480, 640), (1280, 720), (256, 256), (300, 258), (64, 48)]
)
def test_result_has_the_asked_size(width: int, height: int) -> None:
    composed = compose(noise(256), width, height)
    assert composed.shape == (height, width, 3)
    assert composed.dtype == np.uint8
    assert composed.flags.c_contiguous


def test_picture_stands_whole_and_unchanged_in_the_middle_where_it_needs_no_scaling() -> None:
    picture = noise(128)
    composed = compose(picture, 200, 128)
    np.testing.assert_array_equal(composed[:, 36:164], picture)


def test_same_size_is_a_copy() -> None:
    picture = noise(64)
    composed = compose(picture, 64, 64)
    np.testing.assert_array_equal(composed, picture)
    assert not np.shares_memory(composed, picture)


def test_one_colour_stays_itself_and_its_sides_are_0_45_of_it() -> None:
    picture = np.full((100, 100, 3), (200, 100, 40), np.uint8)
    composed = compose(picture, 160, 120)
    np.testing.assert_array_equal(
        composed[:, 20:140], np.broadcast_to((200, 100, 40), (120, 120, 3))
    )
    np.testing.assert_array_equal(composed[:, :20], np.broadcast_to((90, 45, 18), (120, 20, 3)))
    np.testing.assert_array_equal(composed[:, 140:], np.broadcast_to((90, 45, 18), (120, 20, 3)))


def test_upscaling_is_sharper_than_linear() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, 32:] = 200
    edge = compose(picture, 256, 256)[128].astype(int)[:, 0]
    # A linear edge rises by 50 per pixel at four times the size (200 over 4 pixels).
    assert np.diff(edge).max() > 55


def test_sides_are_blurred() -> None:
    picture = np.zeros((128, 128, 3), np.uint8)
    picture[::2] = 255  # lines one pixel high
    side = compose(picture, 256, 128)[:, :60].astype(float)
    assert np.abs(np.diff(side, axis=0)).max() <= 3
    assert side.mean() == pytest.approx(127.5 * 0.45, abs=2)


def test_sides_show_the_colours_of_their_height() -> None:
    picture = np.zeros((128, 128, 3), np.uint8)
    picture[:64, :, 0] = 240  # red above
    picture[64:, :, 2] = 240  # blue below
    composed = compose(picture, 256, 128)
    top, bottom = composed[4, 10], composed[-4, 10]
    assert top[0] > 80
    assert top[2] < 20
    assert bottom[2] > 80
    assert bottom[0] < 20

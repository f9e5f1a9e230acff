import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.keypoints import Keypoints
from realtime.crop import CROP_RATIO, Crop

crops = st.builds(Crop, st.floats(-50, 700), st.floats(-50, 500), st.floats(20, 600))


def ramp() -> np.ndarray:
    """Red tells 2 x, green 2 y: a cut can be read back as coordinates."""
    x, y = np.meshgrid(np.arange(0, 256, 2), np.arange(0, 256, 2))
    return np.stack([x, y, 0 * x], -1).astype(np.uint8)


def test_around_is_centred_on_the_box_and_as_wide_as_the_ratio_says() -> None:
    landmarks = np.array([[100, 50], [180, 120], [140, 250]], np.float32)
    crop = Crop.around(landmarks)
    assert crop == Crop(140, 150, pytest.approx(200 * CROP_RATIO))


def test_corners_of_a_crop_are_minus_one_and_one() -> None:
    crop = Crop(100, 60, 40)
    corners = crop.to_frame(np.array([[-1, -1], [1, 1], [0, 0]], np.float32))
    assert corners.tolist() == [[80, 40], [120, 80], [100, 60]]


@given(crops, st.floats(-2, 2), st.floats(-2, 2))
def test_coordinates_survive_the_round_trip(crop: Crop, x: float, y: float) -> None:
    value = np.array([[x, y]], np.float32)
    back = crop.from_frame(crop.to_frame(value))
    np.testing.assert_allclose(back, value, atol=2e-5)


@given(crops, crops)
def test_keypoints_move_between_two_crops_by_the_closed_form(one: Crop, other: Crop) -> None:
    keypoints = Keypoints(
        np.array([[0.5, -0.25]], np.float32), np.array([[[1, 0.5], [-0.5, 2]]], np.float32)
    )
    moved = other.keypoints_from_frame(one.keypoints_to_frame(keypoints))
    ratio = one.side / other.side
    x = 0.5 * ratio + (one.cx - other.cx) / (other.side / 2)
    y = -0.25 * ratio + (one.cy - other.cy) / (other.side / 2)
    np.testing.assert_allclose(moved.value, [[x, y]], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(moved.jacobian, keypoints.jacobian * ratio, rtol=1e-5)


def test_jacobians_agree_with_the_slope_of_the_points() -> None:
    """The jacobian of a map p -> crop coordinates, by finite differences."""
    one, other = Crop(50, 60, 80), Crop(70, 40, 130)
    local = np.array([[1.2, 0.3], [-0.4, 0.8]], np.float32)

    def place(u: np.ndarray) -> np.ndarray:
        return other.from_frame(one.to_frame((local @ u).astype(np.float32)[None]))[0]

    zero, h = np.zeros(2), 0.5
    slope = np.stack([(place(zero + h * e) - place(zero)) / h for e in np.eye(2)], -1)
    keypoints = Keypoints(np.zeros((1, 2), np.float32), local[None])
    moved = other.keypoints_from_frame(one.keypoints_to_frame(keypoints))
    np.testing.assert_allclose(moved.jacobian[0], slope, atol=1e-4)


@pytest.mark.parametrize("side", [15, 31, 47, 63, 77, 95])
def test_cut_pixels_lie_where_the_coordinates_say(side: int) -> None:
    size, errors = 16, []
    grid = np.linspace(-1, 1, size, dtype=np.float32)
    for shift in np.linspace(0, 4, 21):
        crop = Crop(60 + shift, 58 + 1.7 * shift, side)
        frame = crop.to_frame(np.stack(np.meshgrid(grid, grid), -1))
        errors.append(crop.cut(ramp(), size).astype(float)[..., :2] / 2 - frame)
    assert np.abs(errors).max() < 1.1  # two roundings to uint8
    assert np.abs(np.mean(errors, axis=(0, 1, 2))).max() < 0.1


def test_cut_at_own_size_is_the_picture_itself() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    np.testing.assert_array_equal(Crop.whole(image).cut(image, 64), image)


def test_large_crops_average_and_do_not_skip_pixels() -> None:
    image = np.zeros((480, 480, 3), np.uint8)
    image[:, ::2] = 200  # one-pixel stripes: their mean is grey
    cut = Crop.whole(image).cut(image, 64)
    assert np.abs(cut.astype(int) - 100).max() <= 30
    skipping = cv2.resize(image, (64, 64), interpolation=cv2.INTER_NEAREST)
    assert np.abs(skipping.astype(int) - 100).max() == 100


@pytest.mark.parametrize("centre", [(-400.0, 50.0), (1000.0, 1000.0), (0.0, 0.0)])
def test_outside_the_picture_the_edge_is_repeated(centre: tuple[float, float]) -> None:
    image = np.full((120, 160, 3), 77, np.uint8)
    for side in (30, 250, 900):
        assert (Crop(*centre, side).cut(image, 32) == 77).all()


def test_one_point_gives_a_crop_that_can_be_cut() -> None:
    crop = Crop.around(np.array([[5, 5]], np.float32))
    assert crop.side == 1
    assert crop.cut(ramp(), 8).shape == (8, 8, 3)


def test_within_moves_then_shrinks_and_never_below_the_least() -> None:
    picture = np.zeros((201, 301, 3), np.uint8)
    assert Crop(150, 100, 100).within(picture, 0.8) == Crop(150, 100, 100)
    assert Crop(20, 190, 100).within(picture, 0.8) == Crop(50, 150, 100)
    assert Crop(150, 60, 220).within(picture, 0.8) == Crop(150, 100, 200)
    least = Crop(150, 60, 300).within(picture, 0.8)
    assert least.side == 240
    assert least.cx == 150
    assert least.cy == 80  # as near as it can be with the whole height in it

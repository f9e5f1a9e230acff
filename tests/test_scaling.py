"""Pictures enlarged, against bilinear, and put where they belong."""

import cv2
import numpy as np
import pytest

from realtime.frame import Image
from realtime.portraits import shipped_avatars
from realtime.scaling import placed, scaled


def portraits() -> list[Image]:
    found = [cv2.imread(str(path)) for _, path in shipped_avatars()]
    return [np.asarray(one, np.uint8) for one in found]


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    error = np.mean((image.astype(float) - truth) ** 2)
    return float(10 * np.log10(255**2 / error))


def edges(image: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1))


@pytest.mark.parametrize("ratio", [1.4, 2.1])
def test_enlarging_is_nearer_to_the_truth_and_sharper_than_bilinear(ratio: float) -> None:
    small_side = round(512 / ratio)
    gains, steepness, linear_steepness = [], [], []
    for truth in portraits():
        small = cv2.resize(truth, (small_side, small_side), interpolation=cv2.INTER_AREA)
        small = np.asarray(small, np.uint8)
        linear = cv2.resize(small, (512, 512))
        for large in (scaled(small, 512, 512), placed(small, 512 / small_side, 0, 0, 512, 512)):
            gains.append(psnr(large, truth) - psnr(linear, truth))
            strong = edges(truth) > np.quantile(edges(truth), 0.95)
            steepness.append(edges(large)[strong].mean() / edges(truth)[strong].mean())
            linear_steepness.append(edges(linear)[strong].mean() / edges(truth)[strong].mean())
    assert min(gains) > 1.0
    assert np.mean(steepness) > np.mean(linear_steepness) + 0.1


def test_edges_get_no_rim() -> None:
    step = np.full((40, 40, 3), 60, np.uint8)
    step[:, 20:] = 180
    large = scaled(step, 80, 80)
    assert large.min() >= 55
    assert large.max() <= 185


def test_a_picture_is_put_where_its_corner_is_asked_for() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    found = placed(picture, 1.0, 7, 4, 60, 50)
    np.testing.assert_array_equal(found[4:24, 7:37], picture)
    assert (found[10, :7] == found[10, 7]).all()  # its edge repeated


@pytest.mark.parametrize("scale", [0.23, 0.5, 2.0, 3.7])
def test_scaling_keeps_places(scale: float) -> None:
    y, x = np.mgrid[:200, :300].astype(np.float32)
    picture = np.stack([x / 300, y / 200, x * 0], -1) * 255
    found = placed(picture.astype(np.uint8), scale, 5.25, -3.5, 120, 90).astype(float)
    for row, column in ((20, 30), (30, 20), (40, 50)):
        # The value at a pixel's centre says where it came from.
        source_x = (column + 0.5 - 5.25) / scale - 0.5
        source_y = (row + 0.5 + 3.5) / scale - 0.5
        if source_x < 299 and source_y < 199:
            assert found[row, column, 0] / 255 * 300 == pytest.approx(source_x, abs=2.2)
            assert found[row, column, 1] / 255 * 200 == pytest.approx(source_y, abs=2.2)

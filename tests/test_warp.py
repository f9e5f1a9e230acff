"""The thin-plate warp: points land on their targets, and what is not asked for stays."""

import cv2
import numpy as np
import pytest

from training.warp import thin_plate_warp


@pytest.mark.parametrize("size", [128, 256, 512])
def test_points_land_on_their_targets(size: int) -> None:
    points = np.array([[80, 80], [170, 90], [120, 170]], np.float32) * (size / 256)
    target = points + np.array([[9, -6], [-7, 5], [4, 8]], np.float32) * np.float32(size / 256)
    image = np.zeros((size, size, 3), np.uint8)
    for x, y in points.round().astype(int):
        cv2.circle(image, (int(x), int(y)), size // 64, (255, 255, 255), -1)
    warped = thin_plate_warp(image, points, target)
    _, _, _, centres = cv2.connectedComponentsWithStats((warped[..., 0] > 127).astype(np.uint8))
    for one in target:
        assert np.linalg.norm(centres[1:] - one, axis=1).min() < 0.6


@pytest.mark.parametrize("size", [128, 256, 512])
def test_points_that_stay_leave_every_pixel_as_it_is(size: int) -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
    points = random.uniform(0.2 * size, 0.8 * size, (68, 2)).astype(np.float32)
    assert np.array_equal(thin_plate_warp(image, points, points), image)


def test_a_shift_moves_the_face_by_just_that() -> None:
    # A ramp tells where each pixel came from.
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 256, axis=0).repeat(3, axis=2)
    points = np.stack(np.meshgrid(np.arange(80, 180, 12), np.arange(80, 180, 12)), -1)
    points = points.reshape(-1, 2).astype(np.float32)
    warped = thin_plate_warp(ramp, points, points + np.array([6, 0], np.float32))
    came_from = warped[100:160, 100:160, 0].astype(float)
    assert np.abs(came_from - (np.arange(100, 160) - 6)).max() <= 1

"""The measures against closed forms: known turns, gaps, waves and steps of grey."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.landmarks import NAMES
from training.measures import (
    GRAIN_PX,
    INNER_FACE,
    LANDMARKS_68,
    MOVEMENTS,
    background_change,
    detail,
    face_mask,
    flicker,
    follow,
    head_mask,
    landmark_distance,
    mean_difference,
    movements,
)

Array = NDArray[np.float32]


def face() -> Array:
    """A mesh that looks ahead: 100 px between the eyes' outer corners, lids and lips in place."""
    mesh = np.random.default_rng(4).uniform(-60, 60, (478, 3)).astype(np.float32)
    places = {
        **{33: (-50, -20), 133: (-20, -20), 362: (20, -20), 263: (50, -20)},
        **{160: (-42, -25), 159: (-35, -26), 158: (-28, -25)},
        **{144: (-42, -15), 145: (-35, -14), 153: (-28, -15)},
        **{385: (28, -25), 386: (35, -26), 387: (42, -25)},
        **{380: (28, -15), 374: (35, -14), 373: (42, -15)},
        **{468: (-35, -20), 473: (35, -20), 61: (-25, 40), 291: (25, 40)},
        **{82: (-8, 39), 13: (0, 39), 312: (8, 39), 87: (-8, 41), 14: (0, 41), 317: (8, 41)},
        **{70: (-60, -40), 63: (-50, -44), 105: (-40, -46), 66: (-30, -44), 107: (-20, -40)},
        **{336: (20, -40), 296: (30, -44), 334: (40, -46), 293: (50, -44), 300: (60, -40)},
    }
    for index, place in places.items():
        mesh[index, :2] = place
    mesh[:, :2] += 128
    return mesh


def turned(mesh: Array, axis: tuple[float, float, float], degrees: float) -> Array:
    turn, _ = cv2.Rodrigues(np.radians(degrees) * np.array(axis))
    middle = mesh.mean(0)
    return np.asarray((mesh - middle) @ turn.T + middle, np.float32)


def moved(indices: list[int], by: tuple[float, float, float]) -> Array:
    mesh = face()
    mesh[indices] += np.array(by, np.float32)
    return mesh


def measured(mesh: Array) -> dict[str, float]:
    still, now = movements(np.stack([face(), mesh]), face())
    return dict(zip(MOVEMENTS, now - still, strict=True))


# Against ``drawing.moment``: yaw turns the nose to the right, pitch up, roll the crown right.
@pytest.mark.parametrize(
    ("name", "axis"), [("yaw", (0, -1, 0)), ("pitch", (-1, 0, 0)), ("roll", (0, 0, 1))]
)
@pytest.mark.parametrize("degrees", [-31.0, 4.0, 25.0])
def test_a_turn_is_measured_in_degrees_and_changes_nothing_else(
    name: str, axis: tuple[float, float, float], degrees: float
) -> None:
    mesh = turned(face(), axis, degrees) * np.float32(1.3) + np.array([5, -9, 40], np.float32)
    found = measured(mesh)
    assert found.pop(name) == pytest.approx(degrees, abs=0.01)
    assert all(abs(value) < 1e-3 for value in found.values())


def test_the_signs_of_a_turn_are_those_of_the_performer() -> None:
    nose = np.array([0.0, 0.0, -80.0])  # towards the camera
    for axis, moves in (((0, -1, 0), (1, 0)), ((-1, 0, 0), (0, -1))):
        turn, _ = cv2.Rodrigues(np.radians(20.0) * np.array(axis, float))
        place = turn @ nose
        assert np.sign(np.round(place[:2], 6)).tolist() == list(moves)
    crown = cv2.Rodrigues(np.radians(20.0) * np.array([0.0, 0.0, 1.0]))[0] @ [0, -80, 0]
    assert crown[0] > 0


@pytest.mark.parametrize(
    ("name", "indices", "by", "change"),
    [
        ("mouth", [14, 87, 317], (0, 12, 0), 0.12),
        ("smile", [291], (7, 0, 0), 0.07),
        ("right_eye", [160, 159, 158], (0, 9, 0), -0.3),
        ("left_eye", [373, 374, 380], (0, 3, 0), 0.1),
        ("brows", [70, 63, 105, 66, 107, 336, 296, 334, 293, 300], (0, -5, 0), 0.05),
        ("gaze", [468, 473], (6, 0, 0), 0.2),
    ],
)
def test_each_movement_alone_in_its_unit(
    name: str, indices: list[int], by: tuple[float, float, float], change: float
) -> None:
    found = measured(moved(indices, by))
    assert found.pop(name) == pytest.approx(change, abs=1e-5)
    assert all(abs(value) < 1e-4 for value in found.values())
    # And the same in a head that is turned and nearer.
    again = measured(turned(moved(indices, by), (0.2, 0.9, 0.3), 20) * np.float32(0.8))
    assert again[name] == pytest.approx(change, abs=1e-3)


def test_a_film_without_faces_has_no_movements() -> None:
    film = np.stack([face(), np.full((478, 3), np.nan, np.float32)])
    found = movements(film, face())
    assert found.shape == (2, 9)
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()
    assert np.isnan(movements(film[1:], face())).all()


def test_following_half_as_far_at_the_same_moments() -> None:
    driver = np.sin(np.linspace(0, 20, 300))
    assert follow(driver, 0.5 * driver + 3) == pytest.approx((1.0, 0.5))
    assert follow(driver, -2 * driver) == pytest.approx((-1.0, -2.0))


def test_following_a_quarter_period_late_is_no_following() -> None:
    time = np.arange(400) * (2 * np.pi / 100)
    assert follow(np.sin(time), np.cos(time)) == pytest.approx((0.0, 0.0), abs=1e-12)


def test_following_is_told_by_the_moments_that_both_have() -> None:
    driver, result = np.arange(10.0), 0.8 * np.arange(10.0)
    driver[2], result[5] = np.nan, np.nan
    assert follow(driver, result) == pytest.approx((1.0, 0.8))


def test_who_does_not_move_cannot_be_followed() -> None:
    still, driver = np.full(10, 0.3), np.arange(10.0)
    assert np.isnan(follow(still, driver)).all()
    correlation, gain = follow(driver, still)
    assert np.isnan(correlation)
    assert gain == 0
    assert np.isnan(follow(driver[:2], driver[:2])).all()


def test_the_68_landmarks_are_those_of_the_scheme() -> None:
    assert len(set(LANDMARKS_68)) == 68
    places = {"chin": 8, "nose_tip": None, "right_eye_outer": 36, "left_eye_outer": 45}
    places |= {"mouth_right": 48, "mouth_left": 54, "inner_lip_upper": 62, "inner_lip_lower": 66}
    for name, order in places.items():
        if order is not None:
            assert LANDMARKS_68[order] == NAMES[name]


def test_landmark_distance_is_that_of_the_shift() -> None:
    shifted = face() + np.array([3, -4, 100], np.float32)
    film = np.stack([face(), shifted])
    assert landmark_distance(film, face()[None]) == pytest.approx([0, 5], abs=1e-4)


def disc() -> Array:
    """A mesh on a circle of 60 px around the middle."""
    angles = np.linspace(0, 2 * np.pi, 478)
    points = np.stack([128 + 60 * np.cos(angles), 128 + 60 * np.sin(angles), 0 * angles], 1)
    return points.astype(np.float32)


def grey(values: Any) -> NDArray[np.uint8]:
    picture = np.broadcast_to(np.round(values).astype(np.uint8), (256, 256))
    return np.repeat(picture[..., None], 3, axis=2)


@pytest.mark.parametrize("period_px", [4, 8, 32])
def test_detail_of_a_wave_is_what_a_gaussian_takes_from_it(period_px: int) -> None:
    frequency = 2 * np.pi / period_px
    kept = np.exp(-((GRAIN_PX * frequency) ** 2) / 2)
    wave = grey(128 + 80 * np.cos(frequency * np.arange(256)))
    assert detail(wave, disc()) == pytest.approx(80 / np.sqrt(2) * (1 - kept), rel=0.05, abs=0.3)


def test_detail_outside_the_face_does_not_count() -> None:
    picture = grey(128)
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    around = cv2.dilate(face_mask(disc(), 256).astype(np.uint8), np.ones((19, 19))) == 0
    picture[around] = noise[around]
    assert detail(picture, disc()) == 0
    assert detail(noise, disc()) > 30


def test_flicker_is_the_second_difference() -> None:
    assert flicker(grey(100), grey(110), grey(100), disc()) == pytest.approx(20)
    assert flicker(grey(100), grey(110), grey(120), disc()) == 0


def test_the_background_is_what_neither_head_covers() -> None:
    still = grey(100)
    result = grey(100)
    result[head_mask(disc(), 256)] = 255
    assert background_change(result, still, disc(), disc()) == 0
    away = disc() + np.array([40, 0, 0], np.float32)
    result[~(head_mask(disc(), 256) | head_mask(away, 256))] = 151
    assert background_change(result, still, away, disc()) == pytest.approx(0.2)


def test_a_head_that_fills_the_picture_has_no_background() -> None:
    mesh = (disc() - np.array([128, 128, 0], np.float32)) * 5 + np.array([128, 128, 0], np.float32)
    assert np.isnan(background_change(grey(1), grey(2), mesh, mesh))


def test_the_face_is_its_outline_shrunk() -> None:
    area = face_mask(disc(), 256).sum()
    assert area == pytest.approx(np.pi * (60 * INNER_FACE) ** 2, rel=0.03)
    head = head_mask(disc(), 256)
    assert (head | ~face_mask(disc(), 256)).all()
    assert head[40, 128]  # hair
    assert not head[230, 128]  # chest


def test_mean_difference_is_in_parts_of_white() -> None:
    assert mean_difference(grey(10), grey(61)) == pytest.approx(0.2)
    assert mean_difference(grey(61), grey(10)) == pytest.approx(0.2)

"""Turning the gaze of a still picture."""

import cv2
import numpy as np
import pytest

from models.landmarks import INDEX, indices
from realtime.performer import Appearance, Moment, draw
from training.expression import IRISES
from training.gaze import IRIS_RADIUS, turn_gaze

EYES = indices("right_eye_outer", "right_eye_inner", "left_eye_inner", "left_eye_outer")


@pytest.fixture(scope="module")
def face() -> tuple[np.ndarray, np.ndarray]:
    picture, truth = draw(Appearance(), Moment(), 480, 480)
    return picture, truth.landmarks


def dark(image: np.ndarray, landmarks: np.ndarray, eye: int) -> np.ndarray:
    """Centre of the darkest pixels between the corners of an eye: its pupil."""
    left, right = landmarks[EYES[2 * eye : 2 * eye + 2]]
    width = float(right[0] - left[0])
    y = int(left[1] + right[1]) // 2
    high = int(0.12 * width)
    part = image[y - high : y + high, int(left[0] + 0.1 * width) : int(right[0] - 0.1 * width)]
    grey = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY)
    rows, columns = np.nonzero(grey < np.percentile(grey, 6))
    return np.array([columns.mean(), rows.mean()])


def test_no_turn_changes_nothing(face: tuple[np.ndarray, np.ndarray]) -> None:
    picture, landmarks = face
    same, points = turn_gaze(picture, landmarks, 0.0, 0.0)
    assert np.abs(same.astype(int) - picture).max() <= 1
    np.testing.assert_allclose(points, landmarks, atol=1e-4)


@pytest.mark.parametrize("right", [-0.15, 0.12])
def test_the_dark_of_both_eyes_moves_as_far_as_the_landmarks(
    face: tuple[np.ndarray, np.ndarray], right: float
) -> None:
    picture, landmarks = face
    turned, points = turn_gaze(picture, landmarks, right, 0.0)
    for eye, iris in enumerate(IRISES):
        width = landmarks[EYES[2 * eye + 1], 0] - landmarks[EYES[2 * eye], 0]
        assert points[iris, 0] - landmarks[iris, 0] == pytest.approx(right * width, rel=0.05)
        seen = dark(turned, landmarks, eye) - dark(picture, landmarks, eye)
        assert seen[0] == pytest.approx(right * width, rel=0.35)


def test_an_iris_stays_inside_its_eye_and_lids_stay(face: tuple[np.ndarray, np.ndarray]) -> None:
    picture, landmarks = face
    turned, points = turn_gaze(picture, landmarks, 2.0, 0.0)
    for eye, iris in enumerate(IRISES):
        left, right = landmarks[EYES[2 * eye : 2 * eye + 2], 0]
        assert points[iris, 0] + IRIS_RADIUS * (right - left) < right
    others = [number for number in range(len(landmarks)) if number not in IRISES]
    np.testing.assert_array_equal(points[others], landmarks[others])
    brow = int(landmarks[INDEX["right_brow"], 1])
    np.testing.assert_array_equal(turned[:brow], picture[:brow])

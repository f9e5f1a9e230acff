"""Shutting the eyes of a still picture."""

import numpy as np
import pytest

from models.landmarks import INDEX
from realtime.performer import Appearance, Moment, draw
from training.expression import LOWER_LIDS, UPPER_LIDS, eye_opening
from training.lids import LOWER_SHARE, shut_eyes


@pytest.fixture(scope="module")
def face() -> tuple[np.ndarray, np.ndarray]:
    picture, truth = draw(Appearance(), Moment(), 480, 480)
    return picture, truth.landmarks


def test_opening_one_changes_nothing(face: tuple[np.ndarray, np.ndarray]) -> None:
    picture, landmarks = face
    same, points = shut_eyes(picture, landmarks, 1.0)
    assert np.abs(same.astype(int) - picture).max() <= 2
    np.testing.assert_allclose(points, landmarks, atol=1e-3)


@pytest.mark.parametrize("opening", [0.0, 0.3, 0.7, 1.4])
def test_lids_come_as_near_as_asked_and_meet_low(
    face: tuple[np.ndarray, np.ndarray], opening: float
) -> None:
    picture, landmarks = face
    _, points = shut_eyes(picture, landmarks, opening)
    before = landmarks[LOWER_LIDS] - landmarks[UPPER_LIDS]
    after = points[LOWER_LIDS] - points[UPPER_LIDS]
    across = np.linalg.norm(after, axis=1) / np.linalg.norm(before, axis=1)
    assert eye_opening(points) < eye_opening(landmarks) * (opening + 0.1)
    assert np.median(across) == pytest.approx(opening, abs=0.08)
    raised = (landmarks[LOWER_LIDS] - points[LOWER_LIDS])[:, 1]
    assert raised == pytest.approx(before[:, 1] * LOWER_SHARE * (1 - opening), abs=0.6)


def test_a_shut_eye_shows_no_white_and_the_rest_of_the_face_stays(
    face: tuple[np.ndarray, np.ndarray],
) -> None:
    picture, landmarks = face
    shut, _ = shut_eyes(picture, landmarks, 0.0)
    left, right = landmarks[[INDEX["right_eye_outer"], INDEX["right_eye_inner"]], 0].astype(int)
    y = int(landmarks[INDEX["right_iris"], 1])
    eye = (slice(y - 25, y + 25), slice(left, right))
    white = [int((image[eye].min(-1) > 200).sum()) for image in (picture, shut)]
    assert white[0] > 15
    assert white[1] == 0
    below = int(landmarks[INDEX["nose_tip"], 1])
    np.testing.assert_array_equal(shut[below:], picture[below:])
    np.testing.assert_array_equal(shut[:, :40], picture[:, :40])

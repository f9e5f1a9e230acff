"""Shutting the mouth of a still picture."""

import numpy as np
import pytest

from models.landmarks import INDEX, indices
from realtime.performer import Appearance, Moment, draw
from training.expression import INNER_LOWER, INNER_UPPER, mouth_opening
from training.lips import shut_mouth

BELOW = indices("lip_lower_right", "lip_lower", "lip_lower_left")


@pytest.fixture(scope="module")
def face() -> tuple[np.ndarray, np.ndarray]:
    picture, truth = draw(Appearance(), Moment(mouth_open=0.7), 480, 480)
    return picture, truth.landmarks


def test_opening_one_changes_nothing(face: tuple[np.ndarray, np.ndarray]) -> None:
    picture, landmarks = face
    same, points = shut_mouth(picture, landmarks, 1.0)
    assert np.abs(same.astype(int) - picture).max() <= 2
    np.testing.assert_allclose(points, landmarks, atol=1e-3)


@pytest.mark.parametrize("opening", [0.0, 0.4, 0.8])
def test_the_lower_lip_comes_as_near_as_asked_and_the_rest_stays(
    face: tuple[np.ndarray, np.ndarray], opening: float
) -> None:
    picture, landmarks = face
    _, points = shut_mouth(picture, landmarks, opening)
    assert mouth_opening(points) == pytest.approx(opening * mouth_opening(landmarks), abs=0.01)
    raised = (landmarks - points)[:, 1]
    np.testing.assert_allclose(raised[BELOW], raised[INNER_LOWER], atol=1e-3)
    others = [n for n in range(len(landmarks)) if n not in BELOW + INNER_LOWER]
    np.testing.assert_array_equal(points[others], landmarks[others])


def test_a_shut_mouth_shows_no_teeth_and_the_face_around_stays(
    face: tuple[np.ndarray, np.ndarray],
) -> None:
    picture, landmarks = face
    shut, _ = shut_mouth(picture, landmarks, 0.0)
    left, right = landmarks[[INDEX["mouth_right"], INDEX["mouth_left"]], 0].astype(int)
    top = int(landmarks[INNER_UPPER, 1].min()) - 2
    bottom = int(landmarks[INNER_LOWER, 1].max()) + 2
    mouth = (slice(top, bottom), slice(left, right))
    white = []
    for image in (picture, shut):
        pixels = image[mouth].astype(int)
        white.append(int(((pixels.min(-1) > 120) & (np.ptp(pixels, -1) < 25)).sum()))
    assert white[0] > 200
    assert white[1] == 0
    above = int(landmarks[INDEX["nose_tip"], 1])
    np.testing.assert_array_equal(shut[:above], picture[:above])
    chin = int(landmarks[INDEX["chin"], 1]) + 2
    np.testing.assert_array_equal(shut[chin:], picture[chin:])

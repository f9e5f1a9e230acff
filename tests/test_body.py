"""The driver's body moves the avatar's: closed forms with shifted pictures."""

import cv2
import numpy as np
import pytest

from models.head import MEAN_SHAPE
from realtime.body import SIDE, Body, Sight
from realtime.crop import Crop

FACE = (MEAN_SHAPE[:, :2] * 0.8).astype(np.float32) - np.float32([0, 0.2])
CHIN = round((float(FACE[:, 1].max()) + 1) * 128)
CELLS = 128
CHEST, BROW = slice(108, 122), slice(40, 60)


def cloth(shift: float) -> np.ndarray:
    """(256, 256, 3) whose part below the face lies ``shift`` pixels to the right."""
    rng = np.random.default_rng(5)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (256, 300, 3), np.uint8), (0, 0), 4)
    picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX)
    still = picture[:, 20:276].copy()
    move = np.array([[1, 0, shift - 20], [0, 1, 0]], np.float64)
    still[CHIN:] = cv2.warpAffine(picture, move, (256, 256))[CHIN:]
    return still


def sight(shift: float) -> Sight:
    picture = cloth(shift)
    return Sight.of(picture, Crop.whole(picture), FACE)


def moved(body: Body, share: float = 1.0, face: np.ndarray = FACE) -> np.ndarray:
    """What a body adds to no displacement at all, (2, 128, 128)."""
    seen: list[np.ndarray] = []

    def carrier(moves: np.ndarray, *_: object) -> np.ndarray:
        seen.append(moves)
        return np.zeros((1, 1, 3), np.uint8)

    still = np.zeros((2, CELLS, CELLS), np.float32)
    body.before(carrier, share)(still, still, still, face)
    return seen[0]


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_chest_goes_as_far_as_the_drivers_and_a_face_stays(share: float) -> None:
    body = Body(eases=False)
    body.set_avatar(FACE)
    for shift in (0.0, 6.0):
        body.see(sight(shift), FACE, 0.0)
        field = moved(body, share)
    # What is 6 pixels to the right comes from 6 pixels to the left: -6 of 255 pixels.
    assert field[0, CHEST, 30:100].mean() == pytest.approx(-6 * 2 / 255 * share, rel=0.15)
    assert abs(field[1, CHEST, 30:100].mean()) < 0.006
    assert np.abs(field[:, BROW, 58:70]).max() == 0


def test_nothing_moves_with_a_driver_who_does_not() -> None:
    body = Body(eases=False)
    body.set_avatar(FACE)
    for _ in range(3):
        body.see(sight(0.0), FACE, 0.0)
        assert np.abs(moved(body)).max() < 0.002


def test_without_a_share_the_displacement_is_handed_on() -> None:
    body = Body(eases=False)
    body.set_avatar(FACE)
    for shift in (0.0, 6.0):
        body.see(sight(shift), FACE, 0.0)
    assert not moved(body, 0.0).any()


def test_in_a_call_it_follows_softly_and_comes_back() -> None:
    body = Body()
    body.set_avatar(FACE)
    told = []
    for number in range(800):
        body.see(sight(6.0 if number > 20 else 0.0), FACE, number / 25)
        told.append(-moved(body)[0, CHEST, 30:100].mean() * 255 / 2)
    assert abs(told[20]) < 0.5
    assert 0 < told[21] < told[30]
    assert told[32] > 4
    assert abs(told[-1]) < 0.5


def test_a_smaller_avatar_moves_less_far() -> None:
    body = Body(eases=False)
    small = FACE * np.float32(0.5)
    body.set_avatar(small)
    for shift in (0.0, 6.0):
        body.see(sight(shift), FACE, 0.0)
        field = moved(body, face=small)
    # The chest of the driver, half as far from the middle.
    assert field[0, 86:92, 50:78].mean() == pytest.approx(-3 * 2 / 255, rel=0.2)


def test_a_sight_is_what_the_crop_shows_wherever_it_lies() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (300, 400, 3), np.uint8)
    for crop in (Crop(200, 150, 200), Crop(10, 290, 180), Crop(390, 20, 260)):
        expected = cv2.cvtColor(crop.cut(picture, SIDE), cv2.COLOR_RGB2GRAY)
        found = Sight.of(picture, crop, FACE).grey
        assert np.abs(found.astype(int) - expected).mean() < 6

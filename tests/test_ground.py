"""What stands still behind a person: closed forms."""

import cv2
import numpy as np
import pytest

from realtime.carry import put_before
from realtime.frame import Image
from realtime.ground import ground_behind, person_before, with_rim
from realtime.matte import Matte

HEIGHT, WIDTH = 300, 400


def softly(radius: float) -> Matte:
    """A disc in the middle with a soft edge."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    inside = np.where(np.hypot(x - WIDTH / 2, y - HEIGHT / 2) < radius, 255, 0).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(inside, (0, 0), 1.5), np.uint8)


def before(wall: Image, matte: Matte, colour: tuple[int, int, int]) -> Image:
    picture = np.full_like(wall, colour)
    put_before(picture, wall, matte)
    return picture


def striped() -> Image:
    """Grey, with a dark bar from left to right behind the middle."""
    wall = np.full((HEIGHT, WIDTH, 3), 180, np.uint8)
    wall[140:160] = 60
    return wall


def test_where_nobody_is_the_background_is_the_pictures_own() -> None:
    wall = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    picture = before(wall, softly(60), (240, 20, 20))
    matte = with_rim(softly(60), 4)
    ground = ground_behind(picture, matte)
    assert (matte == 0).mean() > 0.5
    assert (ground[matte == 0] == wall[matte == 0]).all()


@pytest.mark.parametrize("level", [40, 200])
def test_what_a_person_hides_is_filled_in_from_around_him(level: int) -> None:
    wall = np.full((HEIGHT, WIDTH, 3), level, np.uint8)
    picture = before(wall, softly(70), (240, 20, 20))
    ground = ground_behind(picture, with_rim(softly(70), 4))
    off = np.abs(ground.astype(int) - level)
    assert off.max() <= 8  # of 200 that the person is away
    assert off.mean() < 0.5


def test_a_bar_goes_on_a_little_behind_the_person() -> None:
    picture = before(striped(), softly(60), (240, 20, 20))
    ground = ground_behind(picture, with_rim(softly(60), 4))
    edge = WIDTH // 2 - 60
    assert ground[150, edge + 12].mean() < 100  # the bar
    assert ground[100, edge + 40].mean() > 140  # the wall above it


def test_the_person_before_his_ground_is_the_picture() -> None:
    picture = before(striped(), softly(60), (200, 120, 40))
    matte = with_rim(softly(60), 4)
    ground = ground_behind(picture, matte)
    person = person_before(picture, matte, ground)
    again = person.copy()
    put_before(again, ground, matte)
    assert np.abs(again.astype(int) - picture).max() <= 6
    inside = softly(60) > 250
    assert np.abs(person[inside].astype(int) - (200, 120, 40)).max() <= 3


def test_the_rim_is_around_the_person_and_soft() -> None:
    matte = softly(60)
    wide = with_rim(matte, 5)
    assert (wide[matte > 220] == 255).all()
    row = wide[HEIGHT // 2, : WIDTH // 2].astype(int)
    edge = WIDTH // 2 - 60
    assert row[edge - 3] > 120
    assert row[edge - 25] == 0
    assert np.diff(row).max() < 60
    assert (np.diff(row) >= 0).all()


def test_a_haze_is_nobody() -> None:
    haze = np.full((HEIGHT, WIDTH), 100, np.uint8)
    assert with_rim(haze, 5).max() == 0


@pytest.mark.parametrize("cover", [0, 255])
def test_nobody_and_nothing_but_a_person(cover: int) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (40, 60, 3), np.uint8)
    matte = np.full((40, 60), cover, np.uint8)
    ground = ground_behind(picture, matte)
    again = person_before(picture, matte, ground)
    put_before(again, ground, matte)
    assert np.abs(again.astype(int) - picture).max() <= 1

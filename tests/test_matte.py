"""Whom the matte keeps: drawn people, whose outline is known, and closed forms."""

import cv2
import numpy as np
import pytest

from drawing import texture
from drawing.appearance import Appearance
from drawing.moment import Moment
from drawing.sitter import Sitter, View
from realtime.crop import Crop
from realtime.frame import Image
from realtime.matte import WINDOW, foreground, guided, person_matte
from realtime.portraits import PORTRAITS

SIDE = 384


def drawn(look: Appearance) -> tuple[Image, np.ndarray, np.ndarray]:
    """A drawn person before a wall, his landmarks, and where he really is."""
    sitter, moment = Sitter(look), Moment()
    view = View(SIDE, SIDE, 0.85 * SIDE / 4, SIDE / 2, 0.46 * SIDE)
    marks = sitter.truth(moment, view).landmarks
    tall = float(np.ptp(marks[:, 1]))
    view = View(SIDE, SIDE, view.scale * 0.5 * SIDE / tall, SIDE / 2, 0.46 * SIDE)
    marks = sitter.truth(moment, view).landmarks
    picture = texture.backdrop(look, SIDE, SIDE)
    pink, cyan = (
        np.full((SIDE, SIDE, 3), colour, np.uint8) for colour in ((255, 0, 255), (0, 255, 255))
    )
    for canvas in (picture, pink, cyan):
        sitter.draw(canvas, moment, view, detail=1.0)
    person = np.abs(pink.astype(int) - cyan).max(axis=2) < 128
    return picture, marks.astype(np.float32), person


@pytest.mark.parametrize("name", list(PORTRAITS))
def test_drawn_people_are_found(name: str) -> None:
    picture, marks, person = drawn(PORTRAITS[name][0])
    found = person_matte(picture, marks) > 127
    overlap = (found & person).sum() / (found | person).sum()
    assert overlap > 0.93


def test_the_same_picture_gives_the_same_matte() -> None:
    picture, marks, _ = drawn(PORTRAITS["amara"][0])
    cv2.setRNGSeed(5)
    first = person_matte(picture, marks)
    np.testing.assert_array_equal(first, person_matte(picture, marks))


def test_only_what_is_around_the_face_is_looked_at() -> None:
    picture, marks, _ = drawn(PORTRAITS["mio"][0])
    wide = np.full((SIDE, 5 * SIDE, 3), picture[0, 0], np.uint8)
    wide[:, :SIDE] = picture
    matte = person_matte(wide, marks)
    assert matte.shape == (SIDE, 5 * SIDE)
    assert not matte[:, 3 * SIDE :].any()
    assert matte[:, :SIDE].any()


def test_a_body_goes_on_below_what_the_network_is_given() -> None:
    look = PORTRAITS["henrik"][0]
    sitter, moment = Sitter(look), Moment()
    view = View(600, 900, 50, 300, 200)
    tall = float(np.ptp(sitter.truth(moment, view).landmarks[:, 1]))
    view = View(600, 900, 50 * 130 / tall, 300, 200)
    marks = sitter.truth(moment, view).landmarks.astype(np.float32)
    window = Crop.around(marks).scaled(WINDOW)
    assert window.cy + window.side / 2 < 450
    picture = texture.backdrop(look, 600, 900)
    sitter.draw(picture, moment, view, detail=1.0)
    # His jacket goes on to the lower edge.
    bottom = round(window.cy + 0.29 * window.side)
    picture[bottom:, 180:420] = picture[bottom - 4, 210]
    found = person_matte(picture, marks) > 127
    assert found[500:880, 200:400].mean() > 0.95
    assert found[500:880, :160].mean() < 0.05
    assert found[500:880, 440:].mean() < 0.05


def test_an_edge_is_drawn_where_the_picture_has_it() -> None:
    picture = np.full((96, 96, 3), 40, np.uint8)
    picture[:, 48:] = 210
    rough = np.zeros((96, 96), np.float32)
    rough[:, 44:] = 1  # four pixels off
    fine = guided(picture, picture, rough, 6)
    steps = np.diff(fine[40])
    assert steps.argmax() == 47
    assert steps.max() > 3 * steps[43]  # where the rough one had it


def test_no_rim_of_the_old_background_comes_along() -> None:
    matte = np.zeros((80, 80), np.float32)
    matte[:, 40:] = 1
    matte = cv2.GaussianBlur(matte, (0, 0), 2)
    person, wall = np.array((200.0, 120, 40)), np.array((10.0, 10, 250))
    cover = matte[..., None]
    picture = np.rint(person * cover + wall * (1 - cover)).astype(np.uint8)
    found = foreground(picture, np.rint(matte * 255).astype(np.uint8)).astype(int)
    seen = matte > 0.05
    before = np.abs(picture.astype(int) - person)[seen].max()
    assert before > 150
    # What is left weighs little: by the matte it is nearly invisible.
    rest = (np.abs(found - person) * cover)[seen].max()
    assert rest < 60

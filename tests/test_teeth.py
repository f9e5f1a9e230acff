"""Pictures of teeth, against their sizes in the book."""

import numpy as np
import pytest

from models.teeth import ABOVE, BELOW, HALF, SHAPE, SIDE, teeth

UPPER, LOWER = teeth()
MM_ACROSS = 2 * SIDE * HALF / SHAPE[1]
MM_DOWN = (ABOVE + BELOW) * HALF / SHAPE[0]


def test_light_is_between_nothing_and_all() -> None:
    pictures = teeth()
    assert pictures.shape == (2, 2, *SHAPE)
    assert pictures.dtype == np.float32
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    assert pictures.sum(1).max() <= 1  # a tooth is no gum


@pytest.mark.parametrize(("jaw", "length"), [(UPPER, 10.5), (LOWER, 9.0)])
def test_front_teeth_are_as_long_as_in_the_book(jaw: np.ndarray, length: float) -> None:
    middle = jaw[0][:, SHAPE[1] // 2 + 3] > 0.4
    assert middle.sum() * MM_DOWN == pytest.approx(length, abs=1.5)


def test_edges_meet_where_the_picture_says() -> None:
    upper = np.flatnonzero(UPPER[0][:, SHAPE[1] // 2 + 3] > 0.4)
    lower = np.flatnonzero(LOWER[0][:, SHAPE[1] // 2 + 3] > 0.4)
    assert (upper.max() + 1) * MM_DOWN == pytest.approx(ABOVE * HALF, abs=0.8)
    assert lower.min() * MM_DOWN == pytest.approx(BELOW * HALF, abs=0.8)


def test_the_first_upper_tooth_is_as_wide_as_in_the_book() -> None:
    row = UPPER[0][int((ABOVE * HALF - 4) / MM_DOWN)]
    right_half = row[SHAPE[1] // 2 :]
    gap = 3 + int(right_half[3:14].argmin())
    assert (gap + 0.5) * MM_ACROSS == pytest.approx(8.5, abs=0.9)


def test_both_sides_are_alike_and_the_side_is_darker() -> None:
    for jaw in (UPPER, LOWER):
        np.testing.assert_allclose(jaw, jaw[:, :, ::-1], atol=1e-5)
    row = UPPER[0][int((ABOVE * HALF - 4) / MM_DOWN)]
    middle = SHAPE[1] // 2
    assert row[middle + int(24 / MM_ACROSS)] < 0.9 * row[middle + int(4 / MM_ACROSS)]

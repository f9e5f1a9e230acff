"""People cut out of their portraits."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from realtime.performer import Appearance, Moment, draw
from training.data import SIZE, Portraits
from training.matte import SMALL, matte, mattes


@pytest.fixture(scope="module")
def portrait() -> tuple[np.ndarray, np.ndarray]:
    picture, truth = draw(Appearance(), Moment(), SIZE, SIZE)
    return picture, truth.landmarks


def test_a_matte_has_the_face_and_not_the_upper_corners(
    portrait: tuple[np.ndarray, np.ndarray],
) -> None:
    picture, landmarks = portrait
    found = matte(picture, landmarks)
    assert found.shape == (SMALL, SMALL)
    assert set(np.unique(found)) == {0, 255}
    x, y = (landmarks * SMALL / SIZE).astype(int).T
    assert (found[y, x] == 255).all()
    assert (found[:8, :8] == 0).all()
    assert (found[:8, -8:] == 0).all()


def test_a_person_before_a_plain_wall_is_cut_at_the_wall(
    portrait: tuple[np.ndarray, np.ndarray],
) -> None:
    _, landmarks = portrait
    rows, columns = np.mgrid[:SIZE, :SIZE]
    away = np.hypot(columns - landmarks[:, 0].mean(), rows - landmarks[:, 1].mean())
    person = away < 0.62 * np.ptp(landmarks[:, 1])
    person[int(landmarks[:, 1].max()) :, SIZE // 2 - 40 : SIZE // 2 + 40] = True
    scene = np.where(person[..., None], [210, 160, 130], [30, 30, 30]).astype(np.uint8)
    found = cv2.resize(matte(scene, landmarks), (SIZE, SIZE)) > 127
    assert (found == person).mean() > 0.97


def test_mattes_are_made_once_and_read_afterwards(
    tmp_path: Path, portrait: tuple[np.ndarray, np.ndarray]
) -> None:
    picture, landmarks = portrait
    two = Portraits(
        np.stack([picture] * 2), np.stack([landmarks] * 2), np.zeros((2, 48), np.float32)
    )
    made = mattes(two, tmp_path / "run" / "mattes.npy")
    np.testing.assert_array_equal(made[0], matte(picture, landmarks))
    np.save(tmp_path / "run" / "mattes.npy", made[:1])
    assert len(mattes(two, tmp_path / "run" / "mattes.npy")) == 1

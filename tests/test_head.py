"""The mean head, and hair that moves with it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.head import HAIR, MEAN_SHAPE, SEEN
from models.landmarks import INDEX, MIRROR, indices
from realtime.pose import Pose, turn

angles = st.floats(-0.6, 0.6)


def test_the_mean_head_is_symmetric_with_its_nose_in_front() -> None:
    mirrored = MEAN_SHAPE[list(MIRROR)] * [-1, 1, 1]
    np.testing.assert_allclose(mirrored, MEAN_SHAPE, atol=1e-12)
    assert MEAN_SHAPE[:, 2].argmin() == INDEX["nose_tip"]  # z is away from the camera
    assert MEAN_SHAPE[INDEX["forehead"], 1] < MEAN_SHAPE[INDEX["chin"], 1]


def test_hair_lies_around_the_face_behind_the_forehead() -> None:
    face = MEAN_SHAPE[:, :2]
    radius = np.abs(HAIR[:, :2] - face.mean(0)).max(1)
    assert radius.min() > np.abs(face[INDEX["temple_left"]]).max()
    assert HAIR[:, 1].min() < face[:, 1].min()
    np.testing.assert_allclose(np.sort(HAIR[:, 0]), -np.sort(HAIR[:, 0])[::-1], atol=1e-9)
    assert np.all(HAIR[:, 2] > MEAN_SHAPE[INDEX["forehead"], 2])
    assert np.all(HAIR[:, 2] < MEAN_SHAPE[INDEX["temple_left"], 2])


@given(angles, angles, angles)
def test_a_turned_head_is_seen_in_landmarks_whatever_the_mouth_does(
    x: float, y: float, z: float
) -> None:
    pose = Pose(turn(np.array([x, y, z])), 0.7, np.array([0.1, -0.2]))
    landmarks = pose.show(MEAN_SHAPE)
    landmarks[indices("lip_lower", "chin", "right_lid_upper", "left_brow", "left_iris")] += 0.1
    columns = np.column_stack([0.7 * pose.rotation[:2], pose.place]).T
    np.testing.assert_allclose(SEEN @ landmarks, columns, atol=1e-9)


def test_hair_follows_a_nod_as_the_solid_head_does() -> None:
    torch = pytest.importorskip("torch")
    from models.hair import Hair

    hair = Hair()
    before, after = (
        Pose(turn(np.array([angle, 0.1, 0.05])), 0.7, np.array([0.0, place]))
        for angle, place in ((0.0, 0.0), (0.3, 0.1))
    )
    avatar, driving = (
        hair.plane(torch.from_numpy(pose.show(MEAN_SHAPE))[None].float())
        for pose in (before, after)
    )
    knots = hair.knots(driving)
    np.testing.assert_allclose(knots[0].numpy(), after.show(HAIR), atol=1e-5)
    matrix = hair.map(avatar, driving)[0, 0]
    back = torch.cat([knots[0], torch.ones(len(HAIR), 1)], 1) @ matrix.T
    np.testing.assert_allclose(back.numpy(), before.show(HAIR), atol=1e-5)


def test_hair_rules_where_it_is_and_nothing_far_away() -> None:
    torch = pytest.importorskip("torch")
    from models.field import coordinate_grid
    from models.hair import Hair

    hair = Hair()
    knots = hair.knots(hair.plane(torch.from_numpy(0.7 * MEAN_SHAPE[:, :2])[None].float()))
    field = hair.near(knots, 64)
    assert field.shape == (1, 1, 64, 64)
    grid = coordinate_grid(64, field).reshape(1, -1, 2)
    same = hair.at(knots, grid).reshape(field.shape)
    torch.testing.assert_close(field, same, atol=1e-5, rtol=1e-5)
    assert field[0, 0, 12, 32] > 0.4  # over the forehead
    assert field[0, 0, 34, 32] < 0.2  # on the nose
    assert field[0, 0, 63, 0] < 0.02

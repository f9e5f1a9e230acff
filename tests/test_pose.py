"""The head as a solid: its pose, and a face's own shape under a pose."""

import numpy as np
import pytest
from drawn_face import face
from hypothesis import given
from hypothesis import strategies as st

from models.head import MEAN_SHAPE
from models.landmarks import indices
from realtime.pose import Head, Pose, axis_of, pose_of, turn

angles = st.floats(-0.6, 0.6)


def looking(*axis: float) -> Pose:
    return Pose(turn(np.array(axis)), 0.7, np.array([0.1, -0.2]))


@given(angles)
def test_a_turn_about_y_is_the_closed_form_and_told_back(angle: float) -> None:
    rotation = turn(np.array([0.0, angle, 0.0]))
    cos, sin = np.cos(angle), np.sin(angle)
    np.testing.assert_allclose(rotation, [[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], atol=1e-6)
    np.testing.assert_allclose(axis_of(rotation), [0, angle, 0], atol=2e-5)


@given(angles, angles, angles)
def test_a_pose_is_found_again_whatever_lips_lids_and_brows_do(
    x: float, y: float, z: float
) -> None:
    pose = looking(x, y, z)
    seen = pose.show(MEAN_SHAPE)
    seen[indices("lip_lower", "chin", "right_lid_upper", "left_brow", "right_iris")] += 0.1
    found = pose_of(seen, MEAN_SHAPE)
    np.testing.assert_allclose(found.rotation, pose.rotation, atol=1e-6)
    assert found.scale == pytest.approx(0.7, abs=1e-6)
    np.testing.assert_allclose(found.place, pose.place, atol=1e-6)


def test_a_face_of_its_own_shape_is_shown_exactly_and_turns_as_far_as_it_did() -> None:
    rng = np.random.default_rng(0)
    own = MEAN_SHAPE + rng.normal(0, 0.015, MEAN_SHAPE.shape)
    before, after = looking(0.0, 0.1, 0.0), looking(0.05, 0.4, 0.1)
    head = Head(before.show(own))
    np.testing.assert_allclose(head.pose.show(head.shape), before.show(own), atol=1e-9)
    turned = pose_of(after.show(own), head.shape)
    made = axis_of(turned.rotation @ head.pose.rotation.T)
    true = axis_of(after.rotation @ before.rotation.T)
    assert np.degrees(np.linalg.norm(made - true)) < 4


def test_a_movement_of_the_face_is_found_in_a_turned_one() -> None:
    pose = looking(0.1, 0.5, 0.0)
    acting = np.zeros_like(MEAN_SHAPE)
    acting[indices("mouth_right", "mouth_left")] = [[-0.05, 0.02, 0], [0.05, 0.02, 0]]
    found = pose.on_face(pose.show(MEAN_SHAPE + acting) - pose.show(MEAN_SHAPE))
    np.testing.assert_allclose(found, acting, atol=0.004)


def test_the_pose_of_a_drawn_head_that_turns_is_read() -> None:
    """``drawn_face`` has numbers of its own."""
    ahead = Head(face())
    for yaw in (-25.0, 12.0, 30.0):
        pose = pose_of(face(yaw=yaw), ahead.shape)
        _, about_y, _ = np.degrees(axis_of(pose.rotation @ ahead.pose.rotation.T))
        assert abs(about_y) == pytest.approx(abs(yaw), abs=4)


@pytest.mark.parametrize("points", [np.zeros((48, 2)), np.ones((48, 2)) * 7])
def test_landmarks_in_one_place_give_numbers(points: np.ndarray) -> None:
    head = Head(points)
    assert np.isfinite(head.shape).all()
    assert np.isfinite(pose_of(points + 1, head.shape).show(head.shape)).all()

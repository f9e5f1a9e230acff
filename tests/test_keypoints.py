import math

import numpy as np
import pytest
import torch

from models.keypoints import Keypoints, inverse_2x2, motion_scale, relative_motion

SQUARE = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [0.1, 0.2]], np.float32)
IDENTITY = np.tile(np.eye(2, dtype=np.float32), (5, 1, 1))


def rotation(degrees: float) -> np.ndarray:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.tile(np.array([[c, -s], [s, c]], np.float32), (5, 1, 1))


def random_keypoints(seed: int, *batch: int) -> Keypoints:
    rng = np.random.default_rng(seed)
    value = rng.uniform(-0.8, 0.8, (*batch, 10, 2)).astype(np.float32)
    jacobian = np.eye(2) + rng.normal(0, 0.2, (*batch, 10, 2, 2))
    return Keypoints(value, jacobian.astype(np.float32))


def test_no_movement_leaves_the_avatar_as_it_is():
    avatar, initial = random_keypoints(1), random_keypoints(2)
    moved = relative_motion(avatar, initial, initial)
    assert np.allclose(moved.value, avatar.value, atol=1e-6)
    assert np.allclose(moved.jacobian, avatar.jacobian, atol=1e-5)


def test_a_shift_is_scaled_by_the_sizes_of_the_faces():
    avatar = Keypoints(SQUARE, IDENTITY)
    initial = Keypoints(SQUARE * 0.5 + 0.2, IDENTITY)  # a face of half the side: a quarter the area
    driving = Keypoints(initial.value + np.float32([0.1, -0.05]), IDENTITY)
    adapted = relative_motion(avatar, driving, initial)
    assert np.allclose(adapted.value - avatar.value, [0.2, -0.1], atol=1e-5)
    as_is = relative_motion(avatar, driving, initial, adapt_scale=False)
    assert np.allclose(as_is.value - avatar.value, [0.1, -0.05], atol=1e-6)


def test_a_turn_since_the_initial_frame_turns_the_avatars_frames():
    avatar = Keypoints(SQUARE, rotation(20))
    initial, driving = Keypoints(SQUARE, rotation(5)), Keypoints(SQUARE, rotation(35))
    moved = relative_motion(avatar, driving, initial)
    assert np.allclose(moved.jacobian, rotation(20 + 30), atol=1e-6)


def test_scale_is_the_root_of_the_ratio_of_hull_areas():
    # Square of side 1 against a triangle of area 1/8; points inside a hull do not count.
    triangle = np.array([[0, 0], [0.5, 0], [0, 0.5], [0.1, 0.1], [0.2, 0.1]], np.float32)
    assert motion_scale(SQUARE, triangle) == pytest.approx(math.sqrt(8), rel=1e-6)


def test_torch_and_numpy_agree_with_and_without_a_batch():
    for batch in [(), (3,)]:
        sets = [random_keypoints(seed, *batch) for seed in (1, 2, 3)]
        ours = relative_motion(*sets)
        torch_sets = [Keypoints(*map(torch.from_numpy, one)) for one in sets]
        theirs = relative_motion(*torch_sets)
        assert theirs.value.dtype == torch.float32
        assert np.allclose(ours.value, theirs.value.numpy(), atol=1e-6)
        assert np.allclose(ours.jacobian, theirs.jacobian.numpy(), atol=1e-5)


def test_each_face_of_a_batch_has_its_own_scale():
    sets = [random_keypoints(seed, 2) for seed in (1, 2, 3)]
    together = relative_motion(*sets)
    for i in range(2):
        alone = relative_motion(*[Keypoints(one.value[i], one.jacobian[i]) for one in sets])
        assert np.allclose(together.value[i], alone.value, atol=1e-6)


def test_closed_inverse_is_the_inverse():
    matrices = random_keypoints(4, 6).jacobian
    assert np.allclose(inverse_2x2(matrices), np.linalg.inv(matrices), rtol=1e-4, atol=1e-5)
    theirs = inverse_2x2(torch.from_numpy(matrices))
    assert torch.allclose(theirs, torch.linalg.inv(torch.from_numpy(matrices)), atol=1e-4)

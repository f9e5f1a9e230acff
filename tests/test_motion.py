import time

import numpy as np
import pytest
from drawn_face import face, keypoints_of
from driven_face import (
    AS_IT_IS,
    DT,
    LIP_LOWER,
    LIP_UPPER,
    LOWER,
    UPPER,
    avatar_of,
    driven,
    gap,
    started,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from config.schema import MotionSettings
from models.keypoints import Keypoints
from models.landmarks import INDEX, NAMES, indices
from realtime.crop import Crop
from realtime.motion import FOLLOW_S, LEASH, Motion


def test_a_neutral_driver_shows_the_avatar_itself() -> None:
    avatar = avatar_of()
    moved = driven(started(avatar), face())
    np.testing.assert_allclose(moved.value, avatar.value, atol=1e-5)
    np.testing.assert_allclose(moved.jacobian, avatar.jacobian, atol=1e-5)


def test_a_shift_of_the_driver_moves_the_avatar_by_the_closed_form() -> None:
    """A driver twice as wide as another moves twice as many pixels for the same motion."""
    avatar = avatar_of()
    for width in (100, 200):
        driver = face(width=width)
        moved = driven(started(avatar, driver), driver + np.float32([0.1 * width, 0]))
        # The stage is 1.85 face heights; heights are those of ``face``, the avatar is framed alike.
        height = np.ptp(driver[:, 1])
        shift = 0.1 * width / (1.85 * height / 2)
        np.testing.assert_allclose(moved.value - avatar.value, [[shift, 0]] * 48, atol=0.004)
        np.testing.assert_allclose(moved.jacobian, avatar.jacobian, atol=0.01)


def test_unsupervised_keypoints_move_by_the_plain_formula() -> None:
    rng = np.random.default_rng(0)
    landmarks = face()
    stage = Crop.around(landmarks)
    make = lambda: rng.uniform(-0.6, 0.6, (10, 2)).astype(np.float32)  # noqa: E731
    local = lambda: (np.eye(2) + rng.normal(0, 0.1, (10, 2, 2))).astype(np.float32)  # noqa: E731
    avatar, initial = Keypoints(make(), local()), Keypoints(make(), local())
    driving = Keypoints(
        initial.value + rng.normal(0, 0.02, (10, 2)).astype(np.float32),
        initial.jacobian + rng.normal(0, 0.02, (10, 2, 2)).astype(np.float32),
    )
    motion = Motion(MotionSettings(adapt_scale=False), (), 1.0)
    motion.set_avatar(avatar)
    motion.take_reference(stage.keypoints_to_frame(initial), landmarks, 0.0)
    moved = motion.drive(stage.keypoints_to_frame(driving), landmarks, 1.0, 0.0)
    np.testing.assert_allclose(moved.value, driving.value - initial.value + avatar.value, atol=1e-5)
    for i in range(10):
        golden = driving.jacobian[i] @ np.linalg.inv(initial.jacobian[i]) @ avatar.jacobian[i]
        np.testing.assert_allclose(moved.jacobian[i], golden, atol=1e-4)


def test_absolute_motion_is_the_drivers_pose_on_the_stage() -> None:
    motion = Motion(MotionSettings(relative=False), tuple(NAMES), 1.0)
    motion.set_avatar(avatar_of())
    landmarks = face(roll=20, mouth=0.1)
    moved = driven(motion, landmarks, 0.0)
    np.testing.assert_allclose(moved.value, Crop.around(landmarks).from_frame(landmarks), atol=1e-5)
    assert motion.ready(0.0)
    assert not motion.calibrating


def test_extreme_turns_stop_at_the_limit_and_keep_the_face_whole() -> None:
    avatar = avatar_of()
    limit = MotionSettings().limit * 0.83 * np.ptp(avatar.value[:, 1])
    travels = []
    for yaw in range(0, 85, 5):
        moved = driven(started(avatar), face(yaw=yaw, pitch=yaw / 3))
        head = indices("nose_tip", "chin", "forehead", "temple_right", "temple_left")
        travels.append(np.hypot(*(moved.value - avatar.value)[head].T).max())
        assert np.linalg.det(moved.jacobian @ np.linalg.inv(avatar.jacobian)).min() > 0
    assert max(travels) < 1.1 * limit
    assert (np.diff(travels[:8]) > 0).all()
    # The face still has its order: eyes left and right of the nose bridge.
    xs = moved.value[indices("right_eye_outer", "nose_bridge", "left_eye_outer"), 0]
    assert xs[0] < xs[1] < xs[2]


def test_a_face_seen_from_the_side_acts_little_and_one_from_the_front_as_it_does() -> None:
    """A network guesses the far half of a turned face: here the mouth is read a third too wide."""
    corners = indices("mouth_right", "mouth_left")
    widths = {}
    for yaw in (0.0, 20.0, 36.0, 50.0):
        values = [driven(started(), face(lips=lips, yaw=yaw)).value for lips in (1.0, 1.3)]
        calm, wide = (np.hypot(*np.diff(value[corners], axis=0)[0]) for value in values)
        widths[yaw] = wide / calm
    assert widths[0.0] == pytest.approx(1.3, abs=0.03)
    assert widths[20.0] == pytest.approx(widths[0.0], abs=0.04)
    assert 1.08 < widths[36.0] < 1.25
    assert widths[50.0] < 1.08


def test_small_motion_is_not_limited() -> None:
    free, limited = started(limit=10.0), started()
    for look in ({"yaw": 15.0}, {"pitch": -10.0}, {"roll": 12.0}, {"mouth": 0.2}):
        one, other = driven(free, face(**look)), driven(limited, face(**look))
        np.testing.assert_allclose(one.value, other.value, atol=1e-5)


def test_blinks_and_speech_survive_the_limit() -> None:
    turned = {"yaw": 70.0}
    open_, shut = driven(started(), face(**turned)), driven(started(), face(**turned, lids=0.0))
    assert np.abs(shut.value[UPPER] - shut.value[LOWER]).max() < 1e-5
    assert np.abs(open_.value[UPPER] - open_.value[LOWER]).max() > 0.02
    speaking = driven(started(), face(**turned, mouth=0.2))
    assert gap(speaking.value, LIP_UPPER, LIP_LOWER) > 0.1


def test_gains_take_expression_turns_and_nods_further_and_nothing_else() -> None:
    avatar = avatar_of()
    nose, rim = indices("nose_tip"), indices("temple_right", "temple_left")

    def turned(value: np.ndarray) -> np.ndarray:
        return np.asarray(value[nose].mean(0) - value[rim].mean(0))

    plain, further = started(avatar), started(avatar, expression=1.5, turn=1.5, nod=1.3)
    ahead = turned(avatar.value)
    for axis, gain, moved in ((0, 1.5, face(yaw=8.0)), (1, 1.3, face(pitch=8.0))):
        far, near = (turned(driven(one, moved).value) - ahead for one in (further, plain))
        assert abs(near[axis]) > 0.02
        assert far[axis] == pytest.approx(gain * near[axis], rel=0.03)
    speech = face(mouth=0.1)
    assert gap(driven(further, speech).value, LIP_UPPER, LIP_LOWER) == pytest.approx(
        1.5 * gap(driven(plain, speech).value, LIP_UPPER, LIP_LOWER), rel=0.02
    )
    half = face(lids=0.5)
    assert gap(driven(further, half).value) == pytest.approx(gap(driven(plain, half).value))
    for shift in ((9, 0), (0, -7)):
        moved = face() + np.float32(shift)
        np.testing.assert_allclose(
            driven(further, moved).value, driven(plain, moved).value, atol=1e-5
        )


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_wild_jacobians_neither_flip_nor_collapse_nor_spoil(seed: int) -> None:
    rng = np.random.default_rng(seed)
    motion = Motion(MotionSettings(), (), 1.0)
    avatar = Keypoints(
        rng.uniform(-1, 1, (10, 2)).astype(np.float32),
        np.tile(np.eye(2, dtype=np.float32), (10, 1, 1)),
    )
    motion.set_avatar(avatar)
    landmarks = face()
    initial = rng.normal(0, 1, (10, 2, 2)).astype(np.float32)
    initial[0] = 0  # a network can give this
    value = rng.uniform(100, 400, (10, 2)).astype(np.float32)
    with np.errstate(all="ignore"):
        motion.take_reference(Keypoints(value, initial), landmarks, 0.0)
        driving = Keypoints(value, rng.normal(0, 5, (10, 2, 2)).astype(np.float32))
        moved = motion.drive(driving, landmarks, 1.0, 0.0)
    assert np.isfinite(moved.value).all()
    assert np.linalg.det(moved.jacobian).min() > 0


NEUTRAL_AT = (40, 41, 42)
SCENES = {
    "blinking": {"lids": 0.1},
    "mouth open": {"mouth": 0.15},
    "turned": {"yaw": 20.0},
    "nodding": {"pitch": 15.0},
    "tilted": {"roll": 12.0},
    "glancing": {"gaze": 0.25},
}


@pytest.mark.parametrize("scene", SCENES)
def test_the_planted_neutral_frame_becomes_the_reference(scene: str) -> None:
    """Frames that are not neutral, three in the middle that are."""
    rng = np.random.default_rng(1)
    motion = Motion(MotionSettings(recentre_s=2.6), tuple(NAMES), 1.0)
    avatar = avatar_of()
    motion.set_avatar(avatar)
    for i in range(100):
        strength = rng.uniform(0.7, 1.0)
        look = {
            name: 1 - strength * (1 - x) if name == "lids" else x * strength
            for name, x in SCENES[scene].items()
        }
        if scene == "blinking" and i % 3:
            look = {"mouth": 0.1}  # eyes that are always shut have no open state to compare with
        driven(motion, face(**({} if i in NEUTRAL_AT else look)), i * DT)
    assert not motion.calibrating
    moved = driven(motion, face(), 101 * DT)
    np.testing.assert_allclose(moved.value, avatar.value, atol=0.02)


def test_the_avatar_does_not_jump_while_references_are_replaced() -> None:
    """From a bad first frame (turned, mouth open) over better ones to a good one."""
    motion = Motion(AS_IT_IS, tuple(NAMES), 1.0)
    motion.set_avatar(avatar_of())
    shown = []
    for i in range(120):
        fade = max(0.0, 1 - i / 60)
        landmarks = face((320 + 40 * fade, 240), 160, yaw=25 * fade, mouth=0.1 * fade)
        shown.append(driven(motion, landmarks, i * DT).value)
    steps = np.abs(np.diff(shown, axis=0)).max(axis=(1, 2))
    assert steps.max() < 0.04
    assert not motion.calibrating


def test_the_avatar_moves_half_a_second_after_the_first_face() -> None:
    motion = Motion(AS_IT_IS, tuple(NAMES), 1.0)
    motion.set_avatar(avatar_of())
    assert not motion.ready(0.0)
    driven(motion, face(), 10.0)
    assert not motion.ready(10.4)
    assert motion.ready(10.5)
    assert motion.calibrating


def test_calibration_waits_for_a_driver_who_is_away() -> None:
    motion = Motion(MotionSettings(recentre_s=1.0), tuple(NAMES), 1.0)
    motion.set_avatar(avatar_of())
    driven(motion, face(), 0.0)
    driven(motion, face(), 20.0)
    assert motion.calibrating
    for i in range(40):
        driven(motion, face(), 20 + i * DT)
    assert not motion.calibrating


def test_recentre_makes_the_pose_of_now_neutral() -> None:
    avatar = avatar_of()
    motion = started(avatar)
    leaning = face((350, 250), 150, roll=5)
    assert np.abs(driven(motion, leaning).value - avatar.value).max() > 0.1
    motion.recentre()
    for i in range(1, 30):
        moved = driven(motion, leaning, i * DT + DT)
    np.testing.assert_allclose(moved.value, avatar.value, atol=1e-3)


def test_a_shift_in_the_chair_comes_back_to_the_middle_slowly_and_a_nod_does_not() -> None:
    avatar = avatar_of()
    motion = started(avatar)
    shifted, offsets = face((345, 240), 150), []
    for i in range(int(30 / DT)):
        moved = driven(motion, shifted, i * DT)
        offsets.append(float((moved.value - avatar.value)[INDEX["nose_tip"], 0]))
    assert offsets[0] > 0.1
    at = int(FOLLOW_S / DT)
    assert offsets[at] == pytest.approx(offsets[0] * np.exp(-1), rel=0.05)
    assert abs(offsets[-1]) < 0.01
    nod = started(avatar)
    before = driven(nod, face(), 0.0).value
    now, later = (driven(nod, face(pitch=12), t).value for t in (0.01, 0.5))
    assert np.abs(now - before).max() > 0.05
    assert np.abs(later - now).max() < 0.02


def test_the_stage_is_pulled_along_when_the_driver_leaves_it() -> None:
    motion = started()
    driven(motion, face((600, 240)), 0.01)
    assert motion.stage is not None
    away = np.hypot(600 - motion.stage.cx, 240 - motion.stage.cy)
    assert away / (motion.stage.side / 2) < LEASH + 0.2


def test_zooming_out_makes_the_avatars_face_smaller_until_recentred() -> None:
    avatar = avatar_of()
    motion = started(avatar)
    motion.zoom(1.15)
    small = driven(motion, face()).value
    assert np.ptp(small[:, 1]) == pytest.approx(np.ptp(avatar.value[:, 1]) / 1.15, rel=0.01)


def test_another_avatar_keeps_the_drivers_reference() -> None:
    motion = started(avatar_of())
    other = avatar_of(eyes=1.3)
    motion.set_avatar(other)
    moved = driven(motion, face())
    np.testing.assert_allclose(moved.value, other.value, atol=1e-5)


@pytest.mark.parametrize(
    ("scene", "off"),
    [
        (((0, 0.0), (15, 0.0), (0, 0.1)), 0.002),
        # First seen while looking aside: home is guessed from the temples.
        (((15, 0.0), (0, 0.1), (0, 0.0)), 0.05),
    ],
)
def test_known_driver_moves_the_avatar_at_once_and_as_before(
    scene: tuple[tuple[float, float], ...], off: float
) -> None:
    """The neutral face of an earlier run, though the driver sits elsewhere and nearer now."""
    before = started()
    expected = [driven(before, face(yaw=yaw, mouth=mouth)) for yaw, mouth in scene]
    known = before.calibration
    assert known is not None
    later = Motion(AS_IT_IS, tuple(NAMES), 1.0)
    later.set_avatar(avatar_of())
    later.resume(known)
    assert not later.calibrating
    found = []
    for yaw, mouth in scene:
        found.append(driven(later, face((200, 300), 250, yaw=yaw, mouth=mouth), 100))
        assert later.ready(100)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.value, other.value, atol=off)
    assert np.ptp([one.value for one in found], axis=0).max() > 0.1
    again = later.calibration
    assert again is not None
    np.testing.assert_array_equal(again.landmarks, known.landmarks)


def test_known_driver_is_zoomed_as_asked_and_can_recentre() -> None:
    known = started().calibration
    assert known is not None
    zoomed = Motion(AS_IT_IS, tuple(NAMES), 1.25)
    zoomed.set_avatar(avatar_of())
    zoomed.resume(known)
    driven(zoomed, face())
    assert zoomed.stage is not None
    assert zoomed.stage.side == pytest.approx(1.25 * Crop.around(face()).side, rel=1e-3)
    zoomed.recentre()
    assert zoomed.calibrating
    assert zoomed.calibration is None
    for number in range(120):
        driven(zoomed, face(roll=8), 1 + number * DT)
    assert zoomed.calibration is not None
    assert np.abs(zoomed.calibration.landmarks - known.landmarks).max() > 0.02


def test_driver_who_was_never_neutral_leaves_no_calibration() -> None:
    motion = Motion(MotionSettings(relative=False), tuple(NAMES), 1.0)
    motion.set_avatar(avatar_of())
    assert motion.calibration is None
    driven(motion, face(yaw=30))
    assert motion.calibration is None


def test_a_step_takes_well_under_a_millisecond() -> None:
    motion = Motion(MotionSettings(recentre_s=5.0), tuple(NAMES), 1.0)
    motion.set_avatar(avatar_of())
    frames = [(keypoints_of(face(yaw=i / 10)), face(yaw=i / 10)) for i in range(100)]
    times = []
    for i, (keypoints, landmarks) in enumerate(frames):
        started_at = time.thread_time()
        motion.drive(keypoints, landmarks, 1.0, i * DT)
        times.append(time.thread_time() - started_at)
    assert np.median(times) < 0.003

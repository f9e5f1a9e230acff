import numpy as np
import pytest
from drawn_face import face
from driven_face import DT, LIP_LOWER, LIP_UPPER, LOWER, UPPER, avatar_of, driven, gap, started
from hypothesis import given, settings
from hypothesis import strategies as st

from models.landmarks import INDEX, NAMES, indices
from realtime.crop import Crop
from realtime.expression import ABOVE, ASIDE, CLOSED, Blinks, openness, soft_limit


@pytest.mark.parametrize("eyes", [0.5, 1.0, 1.6])
@pytest.mark.parametrize("avatar_eyes", [0.5, 1.0, 1.6])
def test_a_full_blink_closes_the_avatars_eye_whatever_the_eye_sizes(
    eyes: float, avatar_eyes: float
) -> None:
    avatar = avatar_of(eyes=avatar_eyes)
    motion = started(avatar, face(eyes=eyes))
    # Networks read closed lids as a small gap.
    moved = driven(motion, face(eyes=eyes, lids=0.15))
    assert abs(gap(moved.value)) < 1e-6
    assert gap(avatar.value) > 0.02


@given(st.floats(CLOSED, 1.0))
def test_half_closed_lids_are_half_closed(lids: float) -> None:
    avatar = avatar_of(eyes=1.4)
    moved = driven(started(avatar, face(eyes=0.7)), face(eyes=0.7, lids=lids))
    expected = gap(avatar.value) * (lids - CLOSED) / (1 - CLOSED)
    assert gap(moved.value) == pytest.approx(expected, abs=1e-4)


def test_one_eye_winks_alone() -> None:
    avatar = avatar_of()
    winking = face()
    winking[UPPER] = winking[LOWER]
    moved = driven(started(avatar), winking)
    left = [i.replace("right", "left") for i in np.array(list(NAMES))[UPPER + LOWER]]
    left_upper, left_lower = indices(*left[:3]), indices(*left[3:])
    assert gap(moved.value) == pytest.approx(0, abs=1e-6)
    assert gap(moved.value, left_upper, left_lower) == pytest.approx(
        gap(avatar.value, left_upper, left_lower), rel=0.02
    )


def test_a_blink_in_a_turned_and_tilted_head_closes_too() -> None:
    moved = driven(started(), face(yaw=20, roll=15, lids=0.1))
    shut = moved.value[UPPER] - moved.value[LOWER]
    assert np.abs(shut).max() < 1e-5


def test_turning_the_head_does_not_move_the_lids() -> None:
    avatar = avatar_of()
    for yaw in (-25, 25):
        moved = driven(started(avatar), face(yaw=yaw))
        assert gap(moved.value) == pytest.approx(gap(avatar.value), rel=0.12)


def test_openness_is_zero_closed_one_open_and_bounded() -> None:
    assert openness(CLOSED) == openness(-1) == 0
    assert openness(1.0) == 1
    assert openness(9.0) == 1.5
    assert openness(0.999) == pytest.approx(1, abs=0.002)
    shallow = [openness(ratio, 0.6) for ratio in (0.6, 0.75, 0.9, 1.0, 1.2)]
    assert shallow == pytest.approx([0, 0.5, 1, 1, 1.2])


def test_blinks_that_are_read_shallow_close_the_eyes_once_they_are_known() -> None:
    """A network that reads closed eyes as 55 % open; the driver blinks every 2 s."""
    motion = started()
    depths = []
    for i in range(int(16 / DT)):
        t = i * DT
        shut = 1.5 < t % 2 < 1.68
        moved = driven(motion, face(lids=0.55 if shut else 1.0), t)
        if shut:
            depths.append(gap(moved.value))
    neutral = gap(avatar_of().value)
    assert depths[0] > 0.3 * neutral
    assert depths[-1] == 0
    assert gap(moved.value) == pytest.approx(neutral, rel=1e-3)


def test_eyes_that_look_down_for_long_do_not_count_as_closed() -> None:
    blinks = Blinks()
    for i in range(300):
        blinks.see(0.6 if i % 60 > 30 else 1.0, i * DT)
    assert blinks.closed == CLOSED
    blinks = Blinks()
    for i in range(300):
        blinks.see(0.0 if i % 30 > 26 else 1.0, i * DT)
    assert blinks.closed == CLOSED


angles = st.tuples(st.floats(-30, 30), st.floats(-20, 20), st.floats(-30, 30))


@settings(max_examples=60)
@given(angles, st.floats(-0.1, 0.4), st.floats(0, 0.15), st.integers(0, 10**6))
def test_lips_and_lids_never_cross(
    turn: tuple[float, float, float], mouth: float, smile: float, seed: int
) -> None:
    """Also with lips read as crossed (negative opening), noise, and an avatar with open mouth."""
    rng = np.random.default_rng(seed)
    motion = started(avatar_of(mouth=smile))
    yaw, pitch, roll = turn
    noisy = face(yaw=yaw, pitch=pitch, roll=roll, mouth=mouth, lids=rng.uniform(-0.2, 1.4))
    noisy += rng.normal(0, 1.0, noisy.shape).astype(np.float32)
    value = driven(motion, noisy).value
    for ends, upper, lower in (
        (indices("mouth_right", "mouth_left"), LIP_UPPER, LIP_LOWER),
        (indices("right_eye_outer", "right_eye_inner"), UPPER, LOWER),
    ):
        along = value[ends[1]] - value[ends[0]]
        down = np.array([-along[1], along[0]]) / np.hypot(*along)
        assert ((value[lower] - value[upper]) @ down).min() > -1e-5


def irises(value: np.ndarray) -> np.ndarray:
    """(2, 2): right and left, across and down from the middle of their eye, in its widths."""
    places = []
    for side in ("right", "left"):
        outer, inner = value[indices(f"{side}_eye_outer", f"{side}_eye_inner")]
        away = value[INDEX[f"{side}_iris"]] - (outer + inner) / 2
        places.append(away / abs(inner[0] - outer[0]))  # of a head that does not tilt
    return np.array(places)


def test_a_glance_goes_as_far_as_the_drivers_but_never_out_of_the_eye() -> None:
    own = irises(avatar_of().value)
    for glance in (0.05, 0.15, 0.19):
        moved = irises(driven(started(), face(gaze=glance)).value)
        np.testing.assert_allclose(moved - own, [[glance, 0]] * 2, atol=0.02)
    aside = face(gaze=-0.3)  # a driver who looked aside while he was taken for neutral
    for glance in (0.3, 0.6):
        moved = irises(driven(started(driver=aside), face(gaze=glance)).value)
        assert (moved[:, 0] > 0.28).all()
        assert (moved[:, 0] <= ASIDE + 1e-5).all()
    down = face()
    down[indices("right_iris", "left_iris"), 1] += 30
    sunk = irises(driven(started(), down).value)[:, 1] - own[:, 1]
    assert (sunk > 0.1).all()
    assert (sunk <= ABOVE + 1e-5).all()


def test_an_avatar_who_looks_aside_himself_still_does_for_a_neutral_driver() -> None:
    avatar = avatar_of(gaze=0.4)
    np.testing.assert_allclose(driven(started(avatar), face()).value, avatar.value, atol=1e-5)
    moved = irises(driven(started(avatar), face(gaze=-0.1)).value)
    np.testing.assert_allclose(moved - irises(avatar.value), [[-0.1, 0]] * 2, atol=0.01)


@pytest.mark.parametrize("smile", [0.0, 0.1])
def test_a_closed_mouth_closes_the_avatars_and_an_open_one_opens_it_as_far(smile: float) -> None:
    avatar = avatar_of(mouth=smile)
    closed = driven(started(avatar), face()).value
    assert abs(gap(closed, LIP_UPPER, LIP_LOWER)) < 1e-5
    opened = driven(started(avatar), face(mouth=0.2)).value
    # 0.2 face widths of the driver (110 pixels on the avatar) in half sides of the avatar's crop.
    half = Crop.around(face((128, 128), 110, mouth=smile)).side / 2
    assert gap(opened, LIP_UPPER, LIP_LOWER) == pytest.approx(0.2 * 110 / half, rel=0.08)


def test_soft_limit_is_the_identity_below_the_knee_and_never_exceeds_the_limit() -> None:
    x = np.linspace(0, 50, 4001)
    y = soft_limit(x, 2.0)
    np.testing.assert_array_equal(y[x <= 1.2], x[x <= 1.2])
    assert y.max() <= 2.0
    assert (np.diff(y) >= 0).all()
    assert np.abs(np.diff(y[1:]) / np.diff(x[1:]))[:200].max() <= 1 + 1e-9
    # The closed form at one point above the knee.
    assert soft_limit(2.0, 2.0) == pytest.approx(1.2 + 0.8 * np.tanh(1.0))

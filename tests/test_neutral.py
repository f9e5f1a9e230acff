"""Which face is taken for neutral."""

import numpy as np
import pytest
from drawn_face import face

from realtime.neutral import look_of, most_neutral


def test_looks_tell_what_they_name() -> None:
    neutral = look_of(face())
    assert look_of(face(lids=0.2)).eyes == pytest.approx(0.2 * neutral.eyes, rel=0.02)
    assert look_of(face(mouth=0.1)).mouth == pytest.approx(0.1 / 0.58, rel=0.02)
    assert look_of(face(yaw=15)).yaw * look_of(face(yaw=-15)).yaw < 0
    assert neutral.yaw == pytest.approx(0, abs=1e-6)
    assert look_of(face(roll=10)).roll == pytest.approx(np.radians(10), abs=1e-3)
    ahead, aside = look_of(face()).gaze, look_of(face(gaze=0.2, roll=10)).gaze
    assert (ahead, aside) == pytest.approx((0.0, 0.2), abs=0.03)  # 0.03: irises lie in the round
    assert look_of(face(pitch=10)).pitch != pytest.approx(neutral.pitch, abs=0.03)
    moved = look_of(face() + np.float32([16 * 0.58, 0]), face(), 0.1)
    assert moved.speed == pytest.approx(1.0, rel=0.01)  # a tenth of the eyes' distance in 0.1 s
    assert look_of(face(lips=0.8)).lips == pytest.approx(0.8 * 0.32 / 0.58, rel=0.01)
    assert look_of(face(brows=0.1)).brows - neutral.brows == pytest.approx(0.1 / 0.58, rel=0.01)
    looks = [look_of(face(), confidence=c) for c in (0.5, 0.9, 0.7)]
    assert most_neutral(np.array(looks)) == 1


@pytest.mark.parametrize("grimace", [{"lips": 0.75}, {"lips": 1.3}, {"brows": 0.06}])
def test_a_grimace_is_not_neutral_though_the_head_is_straighter(grimace: dict[str, float]) -> None:
    """A reference with pursed lips would make the avatar grin for the rest of the call."""
    faces = [face(**grimace), face(**grimace), *(face(yaw=yaw) for yaw in (6.0, 5.0, 7.0))]
    assert most_neutral(np.array([look_of(one) for one in faces])) == 3

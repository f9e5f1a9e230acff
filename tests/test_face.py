import sys

import numpy as np
import pytest
from drawn_face import SKIN, SkinNetwork, draw_face, face

from config.errors import EngineError, MissingPackageError
from config.schema import TrackingSettings
from models.landmarks import INDEX
from realtime.alignment import from_68
from realtime.crop import Crop
from realtime.face import MISSES, SEARCH_S, STAY_S, LandmarkTracker, open_tracker

DT = 1 / 30


def picture(*faces: tuple[float, float, float], tilt: float = 0.0) -> np.ndarray:
    """A grey 640x480 picture of drawn faces, each (x, y, height)."""
    image = np.full((480, 640, 3), 120, np.uint8)
    for x, y, height in faces:
        draw_face(image, (x, y), height, tilt)
    return image


def tracker(**changes: object) -> LandmarkTracker:
    return LandmarkTracker(SkinNetwork(), TrackingSettings(**changes))


def centre(found) -> tuple[float, float]:
    crop = Crop.around(found.landmarks)
    return crop.cx, crop.cy


def test_a_face_off_the_centre_is_found_and_read_where_it_is() -> None:
    found = tracker().track(picture((170, 300, 150)), 0.0)
    assert found is not None
    assert centre(found) == pytest.approx((170, 300), abs=6)
    assert np.ptp(found.landmarks[:, 1]) == pytest.approx(150, rel=0.08)
    assert found.confidence == 1.0
    # The crop is the one that landmarks of the first of two readings gave.
    assert found.crop.side == pytest.approx(1.45 * 150, rel=0.1)
    assert found.keypoints is not None
    np.testing.assert_allclose(
        found.crop.to_frame(found.keypoints.value), found.landmarks, atol=1e-3
    )


def test_following_runs_the_network_once_a_frame_and_never_the_search() -> None:
    follower = tracker()
    follower.track(picture((320, 240, 160)), 0.0)
    network = follower._network
    assert isinstance(network, SkinNetwork)
    before = network.calls
    for i in range(1, 20):
        x, y, height = 320 + 6 * i, 240 - 3 * i, 160 - i
        found = follower.track(picture((x, y, height)), i * DT)
        assert found is not None
        assert centre(found) == pytest.approx((x, y), abs=6)
    assert network.calls - before == 19


def test_nothing_is_found_where_no_face_is() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    for image in (picture(), noise):
        assert tracker().track(image, 0.0) is None
        assert tracker().find_all(image) == []


def test_a_tilted_head_is_found_by_turning_the_picture() -> None:
    follower, found = tracker(), None
    for i in range(20):
        found = found or follower.track(picture((200, 260, 170), tilt=32), i * 0.1)
    assert found is not None
    assert centre(found) == pytest.approx((200, 260), abs=25)


def test_while_lost_the_picture_is_searched_seldom() -> None:
    follower = tracker()
    empty, times = picture(), np.arange(0, 3, DT)
    searched = []
    for now in times:
        before = follower._searched_at
        follower.track(empty, float(now))
        searched.append(follower._searched_at != before)
    assert sum(searched) <= 3 / SEARCH_S + 1
    assert sum(searched) >= 5


def test_a_short_loss_is_bridged_and_a_long_one_searched() -> None:
    follower = tracker()
    follower.track(picture((320, 240, 160)), 0.0)
    for i in range(1, MISSES):
        assert follower.track(picture(), i * DT) is None
    back = follower.track(picture((325, 240, 160)), MISSES * DT)
    assert back is not None
    for i in range(10):
        assert follower.track(picture(), 1 + i * DT) is None
    again = follower.track(picture((420, 260, 150)), 2.0)
    assert again is not None
    assert centre(again) == pytest.approx((420, 260), abs=6)


def test_the_tracker_stays_on_its_face_when_a_larger_one_comes_in() -> None:
    follower = tracker()
    for i in range(40):
        driver = (200 + i, 240, 130)
        guest = (560 - 2 * i, 260, 200) if i > 5 else (900, 260, 200)
        found = follower.track(picture(guest, driver), i * DT)
        assert found is not None
        assert centre(found) == pytest.approx(driver[:2], abs=8)


def test_after_a_loss_the_nearest_face_is_taken_and_not_the_largest() -> None:
    follower = tracker()
    follower.track(picture((180, 240, 150)), 0.0)
    for i in range(1, 8):
        follower.track(picture((500, 240, 220)), i * DT)
    found = follower.track(picture((500, 240, 220), (230, 250, 140)), 0.7)
    assert found is not None
    assert centre(found) == pytest.approx((230, 250), abs=8)


def test_a_far_face_has_to_wait_until_the_driver_has_surely_left() -> None:
    follower = tracker()
    follower.track(picture((150, 240, 140)), 0.0)
    elsewhere = picture((500, 240, 200))
    taken_at = None
    for i in range(1, 120):
        if follower.track(elsewhere, i * DT) is not None:
            taken_at = i * DT
            break
    assert taken_at is not None
    assert STAY_S <= taken_at <= STAY_S + SEARCH_S + 2 * DT


def test_a_jump_to_another_face_in_one_frame_is_not_followed() -> None:
    follower = tracker()
    follower.track(picture((250, 240, 150)), 0.0)
    assert follower.track(picture((370, 240, 150)), DT) is None


def test_reset_goes_to_the_largest_face_at_once() -> None:
    """The way back from a stranger, while both are in the picture."""
    follower = tracker()
    follower.track(picture((150, 240, 140)), 0.0)
    both = picture((150, 240, 140), (480, 240, 210))
    still = follower.track(both, DT)
    follower.reset()
    moved = follower.track(both, 2 * DT)
    assert still is not None
    assert moved is not None
    assert centre(still) == pytest.approx((150, 240), abs=8)
    assert centre(moved) == pytest.approx((480, 240), abs=8)


def test_faces_below_the_smallest_size_are_left_alone() -> None:
    image = picture((320, 240, 110))
    assert tracker(min_face_px=40).track(image, 0.0) is not None
    assert tracker(min_face_px=150).track(image, 0.0) is None


def test_the_largest_face_is_the_drivers_at_the_start() -> None:
    found = tracker().track(picture((150, 200, 120), (450, 260, 220)), 0.0)
    assert found is not None
    assert centre(found) == pytest.approx((450, 260), abs=8)


def test_all_faces_of_a_picture_are_found_largest_first() -> None:
    image = picture((130, 150, 120), (450, 260, 220), (150, 370, 150))
    found = tracker().find_all(image)
    heights = [float(np.ptp(one.landmarks[:, 1])) for one in found]
    assert [round(height / 10) for height in heights] == [22, 15, 12]


def test_a_face_that_fills_the_picture_is_found() -> None:
    image = np.full((200, 180, 3), 120, np.uint8)
    image[20:180, 25:155] = SKIN  # the finder sees nothing here
    assert len(tracker().find_all(image)) == 1


def test_a_missing_optional_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(MissingPackageError, match=r"\[face-alignment\]"):
        open_tracker(TrackingSettings(tracker="face-alignment"))


def test_weights_that_cannot_be_downloaded_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's loader without a network: its own error is an OSError."""

    class Package:
        class LandmarksType:
            TWO_D = 1

        def FaceAlignment(self, *_: object, **__: object) -> None:  # noqa: N802
            raise OSError("<urlopen error no route>")

    monkeypatch.setitem(sys.modules, "face_alignment", Package())
    with pytest.raises(EngineError, match=r"downloads them on first use") as told:
        open_tracker(TrackingSettings(tracker="face-alignment"))
    assert "\n" not in str(told.value)


def test_68_points_land_on_the_landmarks_of_the_same_name() -> None:
    """The iBUG order, place by place: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, mouth 48-67,
    each from the left of the picture to its right."""
    points = np.arange(136, dtype=np.float32).reshape(68, 2)
    marks = from_68(points)
    for name, index in {
        "chin": 8,
        "right_brow_outer": 17,
        "left_brow_outer": 26,
        "nose_tip": 30,
        "right_eye_outer": 36,
        "right_eye_inner": 39,
        "left_eye_inner": 42,
        "left_eye_outer": 45,
        "mouth_right": 48,
        "mouth_left": 54,
        "inner_lip_upper": 62,
        "inner_lip_lower": 66,
    }.items():
        np.testing.assert_array_equal(marks[INDEX[name]], points[index])
    np.testing.assert_allclose(marks[INDEX["right_lid_upper"]], (points[37] + points[38]) / 2)
    np.testing.assert_allclose(marks[INDEX["left_iris"]], points[[43, 44, 46, 47]].mean(axis=0))
    assert np.isfinite(marks).all()


def test_the_guessed_forehead_is_near_the_real_one() -> None:
    marks = face()
    points = np.zeros((68, 2), np.float32)
    points[27], points[8] = marks[INDEX["nose_bridge"]], marks[INDEX["chin"]]
    guessed = from_68(points)[INDEX["forehead"]]
    np.testing.assert_allclose(guessed, marks[INDEX["forehead"]], atol=0.03 * 160)

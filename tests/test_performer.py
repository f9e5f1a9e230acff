from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.landmarks import COUNT, INDEX, MIRROR, NAMES, indices
from realtime.frame import Image
from realtime.performer import (
    LOOP_S,
    NEUTRAL_S,
    Appearance,
    Moment,
    Performer,
    Truth,
    away,
    draw,
    perform,
    random_appearance,
    script,
    visit,
)
from realtime.portraits import PORTRAITS, portrait, shipped_avatars

LOOK = Appearance(eyes=(40, 150, 70), hair="bald", backdrop="studio", backdrop_colour=(60, 90, 200))


def at(truth: Truth, name: str) -> np.ndarray:
    return truth.landmarks[INDEX[name]]


def pixel(image: Image, place: np.ndarray, right: float = 0, down: float = 0) -> np.ndarray:
    x, y = np.round(place + np.array([right, down])).astype(int)
    return image[y, x].astype(int)


def faces(image: Image) -> np.ndarray:
    finder = cv2.CascadeClassifier(
        str(Path(cv2.data.haarcascades, "haarcascade_frontalface_default.xml"))
    )
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if image.shape[1] > 512:
        grey = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    found = finder.detectMultiScale(grey, 1.1, 4, minSize=(60, 60))
    return np.reshape(found, (-1, 4)) * (image.shape[1] / grey.shape[1])


@pytest.mark.parametrize(
    "moment",
    [
        Moment(),
        Moment(yaw=20, pitch=8, gaze_x=0.6),
        Moment(yaw=-18, roll=12, gaze_x=-0.5, gaze_y=-0.3, zoom=1.1),
    ],
)
def test_iris_landmarks_lie_on_pupils_inside_coloured_irises(moment: Moment) -> None:
    image, truth = draw(LOOK, moment)
    irises = truth.landmarks[indices("right_iris", "left_iris")]
    for centre in irises:
        assert pixel(image, centre, -1, 1).max() < 70
    red, green, blue = image.astype(int).transpose(2, 0, 1)
    y, x = np.nonzero((green > red + 15) & (green > blue + 15))
    distance = np.hypot(*(np.stack([x, y])[:, :, None] - irises.T[:, None]))
    assert distance.min(axis=1).max() < 9.5 * moment.zoom
    for nearest in (0, 1):
        assert (distance.argmin(axis=1) == nearest).sum() > 40


def test_between_open_lips_it_is_dark_and_between_closed_ones_there_is_no_gap() -> None:
    image, truth = draw(LOOK, Moment(mouth_open=1))
    upper, lower = at(truth, "inner_lip_upper"), at(truth, "inner_lip_lower")
    scale = 0.45 * 480 / 17.2  # pixels per centimetre
    assert 1.8 * scale < lower[1] - upper[1] < 3.5 * scale
    cheek = pixel(image, at(truth, "nose_tip"), -40, 10).mean()
    assert pixel(image, upper + 0.6 * (lower - upper)).mean() < 0.45 * cheek
    assert pixel(image, lower, 0, 6).mean() > 0.5 * cheek  # the lower lip itself
    _, closed = draw(LOOK, Moment())
    for side in ("", "_right", "_left"):
        gap = at(closed, f"inner_lip_lower{side}") - at(closed, f"inner_lip_upper{side}")
        np.testing.assert_allclose(gap, 0, atol=0.01)


def test_lids_meet_when_closed_and_no_white_is_left() -> None:
    image, truth = draw(replace(LOOK, skin=(190, 130, 100)), Moment(eye_right=0, eye_left=1))
    for part in ("outer", "", "inner"):
        ends = [f"right_lid_{edge}_{part}".rstrip("_") for edge in ("upper", "lower")]
        np.testing.assert_allclose(at(truth, ends[0]), at(truth, ends[1]), atol=0.01)

    def brightest(side: str) -> int:
        low = truth.landmarks[indices(f"{side}_eye_outer", f"{side}_eye_inner")].min(axis=0)
        high = truth.landmarks[indices(f"{side}_eye_outer", f"{side}_eye_inner")].max(axis=0)
        patch = image[int(low[1]) - 4 : int(high[1]) + 5, int(low[0]) : int(high[0])]
        return int(patch.min(axis=2).max())  # white has no weak channel, skin does

    assert brightest("left") > 190
    assert brightest("right") < 165


@pytest.mark.parametrize("moment", [Moment(), Moment(roll=10), Moment(y=0.05, zoom=0.9)])
def test_jaw_landmarks_lie_on_the_silhouette(moment: Moment) -> None:
    image, truth = draw(LOOK, moment)
    other, _ = draw(replace(LOOK, backdrop_colour=(220, 140, 60)), moment)
    person = np.abs(image.astype(int) - other).max(axis=2) < 12
    for side, step in (("right", -1), ("left", 1)):
        x, y = np.round(at(truth, f"jaw_{side}")).astype(int)
        outside = np.flatnonzero(~person[y, x - 12 : x + 13])
        edge = outside.max() - 12 if step < 0 else outside.min() - 12
        assert abs(edge) <= 5


def test_angles_have_the_signs_that_truth_tells() -> None:
    def nose(moment: Moment) -> np.ndarray:
        _, truth = draw(LOOK, moment, 320, 240)
        ends = truth.landmarks[indices("temple_right", "temple_left")].mean(axis=0)
        return at(truth, "nose_tip") - ends

    ahead = nose(Moment())
    assert nose(Moment(yaw=15))[0] > ahead[0] + 10
    assert nose(Moment(pitch=12))[1] < ahead[1] - 8
    _, rolled = draw(LOOK, Moment(roll=10), 320, 240)
    axis = at(rolled, "forehead") - at(rolled, "chin")
    assert np.degrees(np.arctan2(axis[0], -axis[1])) == pytest.approx(10, abs=0.7)
    _, looks = draw(LOOK, Moment(gaze_x=1, gaze_y=1), 320, 240)
    _, straight = draw(LOOK, Moment(), 320, 240)
    shift = at(looks, "left_iris") - at(straight, "left_iris")
    assert shift[0] > 2
    assert shift[1] < -1.5


def test_opposite_turns_mirror_the_landmarks() -> None:
    moment = Moment(
        yaw=17, pitch=6, roll=9, mouth_open=0.5, smile=0.4, pucker=0.2, brow=0.5,
        eye_right=0.9, eye_left=0.3, gaze_x=0.4, gaze_y=0.2, x=0.02,
    )  # fmt: skip
    opposite = replace(moment, yaw=-17, roll=-9, eye_right=0.3, eye_left=0.9, gaze_x=-0.4, x=-0.02)
    _, one = draw(LOOK, moment)
    _, other = draw(LOOK, opposite)
    mirrored = other.landmarks[list(MIRROR)] * [-1, 1] + [640, 0]
    np.testing.assert_allclose(one.landmarks, mirrored, atol=0.05)


def test_proportions_are_those_of_people() -> None:
    # Ranges of adults: Farkas, Anthropometry of the Head and Face (1994), rounded outwards.
    _, truth = draw(Appearance(), Moment())
    marks = truth.landmarks
    assert marks.shape == (COUNT, 2)
    assert marks.dtype == np.float32

    def apart(one: str, other: str) -> float:
        return float(np.linalg.norm(at(truth, one) - at(truth, other)))

    width = apart("temple_right", "temple_left")
    assert 0.4 < apart("right_iris", "left_iris") / width < 0.5
    assert 0.55 < apart("right_eye_outer", "left_eye_outer") / width < 0.68
    assert 0.3 < apart("mouth_right", "mouth_left") / width < 0.42
    assert 0.2 < apart("right_nostril", "left_nostril") / width < 0.3
    assert 1.0 < apart("forehead", "chin") / width < 1.35


def test_the_script_loops_smoothly_over_all_it_promises() -> None:
    times = np.arange(0, LOOP_S, 1 / 60)
    moments = [script(float(t)) for t in times]
    values = {f.name: np.array([getattr(m, f.name) for m in moments]) for f in fields(Moment)}
    assert values["yaw"].min() == pytest.approx(-25, abs=0.5)
    assert values["yaw"].max() == pytest.approx(25, abs=0.5)
    for name in ("pitch", "roll"):
        assert values[name].min() == pytest.approx(-15, abs=0.5)
        assert values[name].max() == pytest.approx(15, abs=0.5)
    assert values["mouth_open"].max() > 0.7
    assert values["smile"].max() > 0.8
    assert values["zoom"].max() > 1.1
    assert min(values["gaze_x"].min(), -values["gaze_x"].max()) < -0.7
    for name, fastest in (("yaw", 1.5), ("pitch", 1.5), ("roll", 1.0), ("x", 0.005)):
        assert np.abs(np.diff(values[name])).max() < fastest
    for one, other in ((LOOP_S + 7.3, 7.3), (LOOP_S - 1e-6, 0.0)):
        for f in fields(Moment):
            value = getattr(script(one), f.name)
            assert value == pytest.approx(getattr(script(other), f.name), abs=1e-3)


def test_the_script_starts_neutral_and_blinks_like_people() -> None:
    for t in np.arange(0, NEUTRAL_S, 0.1):
        assert script(float(t)) == Moment()
    step = 1 / 200
    lids = np.array([script(float(t)).eye_right for t in np.arange(0, LOOP_S, step)])
    shut = lids < 0.5
    starts = np.flatnonzero(np.diff(shut.astype(int)) > 0)
    ends = np.flatnonzero(np.diff(shut.astype(int)) < 0)
    assert len(starts) >= 10
    assert lids.min() < 0.02
    # From half closed to half open; the whole blink is about twice as long.
    lengths = (ends - starts) * step
    assert lengths.min() > 0.06
    assert lengths.max() < 0.25
    pauses = (starts[1:] - ends[:-1]) * step
    assert (pauses < 0.4).sum() >= 2  # double blinks


def test_the_same_moment_gives_the_same_pixels() -> None:
    image, truth = perform(5.4, LOOK)
    again, same = perform(5.4, LOOK)
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(truth.landmarks, same.landmarks)
    assert image.shape == (480, 640, 3)
    assert image.dtype == np.uint8
    assert np.abs(perform(5.6, LOOK)[0].astype(int) - image).max() > 20


def test_the_background_stands_still() -> None:
    frames = np.stack([perform(t, LOOK)[0] for t in (0.0, 4.0, 9.0, 14.4, 17.4, 20.8)])
    still = (frames == frames[0]).all(axis=(0, 3))
    assert still[:, :110].mean() > 0.95
    assert still[:, -110:].mean() > 0.95
    assert still[:300, 110:150].all()
    assert not still[150:300, 250:390].any()


def test_a_haar_cascade_finds_the_face() -> None:
    found = seen = 0
    for t in np.arange(0.1, LOOP_S, 0.9):
        moment = script(float(t))
        if abs(moment.yaw) < 20:
            image, truth = perform(float(t))
            x, y = at(truth, "nose_bridge")
            boxes = faces(image)
            hit = [(left < x < left + w) and (top < y < top + h) for left, top, w, h in boxes]
            seen += 1
            found += any(hit)
    assert seen >= 20
    assert found / seen > 0.95


def test_seeds_give_different_people() -> None:
    looks = [random_appearance(seed) for seed in range(60)]
    assert len(set(looks)) == 60
    assert random_appearance(7) == looks[7]
    assert len({look.hair for look in looks}) >= 8
    assert {look.beard for look in looks} == {"none", "stubble", "moustache", "goatee", "full"}
    assert len({look.glasses for look in looks}) == 4
    brightness = [np.mean(look.skin) for look in looks]
    assert min(brightness) < 75
    assert max(brightness) > 200
    first, one = draw(looks[0], Moment(), 320, 240)
    second, two = draw(looks[1], Moment(), 320, 240)
    assert np.abs(first.astype(int) - second).mean() > 10
    assert 0.5 < np.abs(one.landmarks - two.landmarks).max() < 12


def test_the_face_can_leave_and_come_back() -> None:
    motion = away(script, 4.0, 6.0)
    image, truth = perform(5.0, LOOK, motion=motion)
    assert not truth.present
    empty, _ = draw(LOOK, Moment(x=5))
    np.testing.assert_array_equal(image, empty)
    for t in (3.0, 7.0):
        assert perform(t, LOOK, motion=motion)[1].present
        assert motion(t) == script(t)


def test_a_second_face_comes_in_beside_the_first() -> None:
    guest = (replace(LOOK, hair="short", seed=3), visit(2.0, 6.0))
    alone, truth = perform(4.0, LOOK)
    both, same = perform(4.0, LOOK, guests=[guest])
    np.testing.assert_array_equal(truth.landmarks, same.landmarks)
    changed = np.abs(both.astype(int) - alone).max(axis=2) > 10
    assert changed[100:400, 480:].mean() > 0.2
    assert not changed[:, :250].any()
    before, _ = perform(1.0, LOOK, guests=[guest])
    np.testing.assert_array_equal(before, perform(1.0, LOOK)[0])


class Clock:
    """A clock that only a sleep or a test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_the_performer_paces_itself_and_loses_what_nobody_takes() -> None:
    clock = Clock()
    with Performer(LOOK, width=160, height=120, clock=clock, sleep=clock.sleep) as camera:
        frames = [camera.read() for _ in range(4)]
        clock.now += 0.5  # the reader is busy
        late = camera.read()
        following = camera.read()
    taken = [frame for frame in (*frames, late, following) if frame is not None]
    assert [frame.index for frame in taken] == [0, 1, 2, 3, 18, 19]
    for frame in taken:
        assert frame.captured_at == pytest.approx(100 + frame.index / 30)
        assert frame.image.shape == (120, 160, 3)
    assert clock.slept == pytest.approx([1 / 30] * 3 + [1 / 30])
    assert (camera.live, camera.name, camera.fps) == (True, "performer", 30.0)
    assert camera.read() is None
    camera.close()


def test_the_performer_tells_the_truth_of_each_frame() -> None:
    clock = Clock()
    camera = Performer(LOOK, clock=clock, sleep=clock.sleep)
    clock.now += 8.5
    frame = camera.read()
    assert frame is not None
    truth = camera.truth_at(frame.captured_at)
    image, expected = perform(frame.captured_at - 100.0, LOOK)
    np.testing.assert_array_equal(frame.image, image)
    np.testing.assert_array_equal(truth.landmarks, expected.landmarks)
    assert truth.yaw == expected.yaw > 20
    camera.close()


def test_shipped_avatars_are_framed_faces() -> None:
    avatars = shipped_avatars()
    assert len(avatars) >= 4
    for name, path in avatars:
        assert path.stat().st_size < 300_000, name
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        assert image.shape == (512, 512, 3)
        boxes = faces(image)
        assert len(boxes) == 1, name
        x, y, side = boxes[0][:3]
        assert abs(x + side / 2 - 256) < 20, name
        assert abs(y + side / 2 - 256) < 40, name
        assert 210 < side < 300, name


def test_portraits_are_drawn_again_from_the_script() -> None:
    name, path = shipped_avatars()[0]
    look, finish = PORTRAITS[name]
    drawn = cv2.resize(finish(portrait(look, 1024)), (512, 512), interpolation=cv2.INTER_AREA)
    shipped = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    assert np.abs(drawn.astype(int) - shipped).mean() < 1


def test_every_landmark_has_a_place_of_its_own() -> None:
    _, truth = draw(LOOK, Moment(mouth_open=0.5))
    distances = np.linalg.norm(truth.landmarks[:, None] - truth.landmarks[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    assert distances.min() > 1.0
    assert len(NAMES) == len(truth.landmarks)

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_face import face, keypoints_of

from config.errors import AvatarError, SourceError
from config.schema import LabelSettings, OutputSettings, Settings
from models.bundle import DEFAULT, Bundle
from models.keypoints import Keypoints
from models.landmarks import INDEX, NAMES
from provenance.detector import read_video
from provenance.watermark import Payload, Watermark
from realtime import performer
from realtime.avatar import Avatar, load_avatar
from realtime.crop import Crop
from realtime.engine import open_engine
from realtime.face import Face, open_tracker
from realtime.frame import Frame
from realtime.puppeteer import Puppeteer, Status, Step, card

FPS = 20
SIZE = 64
MARK = (255, 0, 255)
"""A colour that only the camera has."""
SETTINGS = Settings(output=OutputSettings(width=SIZE, height=SIZE))
"""The output as small as the result: tests are quick."""
Script = Callable[[float], np.ndarray | None]


class DotEngine:
    """An engine without networks: dots at the keypoints, on the avatar."""

    provider = "dots"

    def __init__(self, landmarks: tuple[str, ...] = tuple(NAMES)) -> None:
        self.bundle = Bundle(
            path=Path(),
            name="dots",
            family="first-order",
            format="onnx",
            precision="fp32",
            size=SIZE,
            output_size=SIZE,
            keypoint_size=32,
            num_keypoints=48,
            landmarks=landmarks,
            opset=17,
            files={},
            licence="",
            origin="",
            versions={},
        )
        self.poses: list[Keypoints] = []
        self.cuts: list[np.ndarray] = []
        self.neutral = Crop(0, 0, 2).keypoints_from_frame(keypoints_of(face((0, 0), 0.9)))
        self.driving = self.neutral

    def set_avatar(self, image: np.ndarray) -> Keypoints:
        assert image.shape == (SIZE, SIZE, 3)
        self.image = image
        return self.neutral

    def keypoints(self, image: np.ndarray) -> tuple[Keypoints, float]:
        self.cuts.append(image)
        return self.driving, 1.0

    def generate(self, keypoints: Keypoints) -> np.ndarray:
        self.poses.append(keypoints)
        picture = self.image.copy()
        for x, y in np.clip((keypoints.value + 1) / 2 * (SIZE - 1), 0, SIZE - 1).astype(int):
            picture[y, x] = (255, 255, 0)
        return picture

    def close(self) -> None:
        pass


class ScriptTracker:
    """A tracker that knows the truth; its crops jump about, its landmarks do not."""

    def __init__(self, script: Script, *, reads: bool = True, jitter: float = 0.0) -> None:
        self.script, self.reads, self.jitter = script, reads, jitter
        self.rng = np.random.default_rng(0)
        self.seen: list[np.ndarray] = []
        self.resets = 0

    def track(self, image: np.ndarray, now: float) -> Face | None:
        self.seen.append(image)
        landmarks = self.script(now)
        if landmarks is None:
            return None
        crop = Crop.around(landmarks)
        x, y, size = self.rng.normal(0, self.jitter, 3)
        crop = Crop(crop.cx + x, crop.cy + y, crop.side * (1 + size / 100))
        keypoints = crop.keypoints_from_frame(keypoints_of(landmarks)) if self.reads else None
        return Face(landmarks, 1.0, crop, keypoints)

    def find_all(self, image: np.ndarray) -> list[Face]:
        found = self.track(image, 0.0)
        return [found] if found else []

    def reset(self) -> None:
        self.resets += 1


def sway(t: float) -> np.ndarray:
    """Neutral for 4 s, then turning and speaking."""
    on = min(max(t - 4, 0), 1)
    return face(
        (320 + 15 * on * np.sin(2 * t), 240),
        yaw=20 * on * np.sin(1.5 * t),
        mouth=0.1 * on * (1 + np.sin(9 * t)),
        lids=0.0 if 5 < t < 5.2 else 1.0,
    )


def away(start: float, end: float, script: Script = sway) -> Script:
    return lambda t: None if start <= t < end else script(t)


class Clock:
    """Each look at it is a millisecond later."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


CAMERA = np.zeros((480, 640, 3), np.uint8)
CAMERA[::2, ::2] = MARK
AVATAR = Avatar("grey", np.full((SIZE, SIZE, 3), 90, np.uint8))


def puppeteer(
    script: Script = sway,
    engine: DotEngine | None = None,
    settings: Settings | None = None,
    **tracker: object,
) -> Puppeteer:
    made = Puppeteer(
        engine or DotEngine(), ScriptTracker(script, **tracker), settings or SETTINGS, Clock()
    )
    made.set_avatar(AVATAR)
    return made


def change(puppet: Puppeteer, group: str, **values: object) -> None:
    """Other settings while it runs."""
    old = puppet.settings
    puppet.settings = replace(old, **{group: replace(getattr(old, group), **values)})


def play(puppet: Puppeteer, start: float, end: float, fps: float = FPS) -> list[Step]:
    return [
        puppet.step(Frame(CAMERA, i / fps, i)) for i in range(round(start * fps), round(end * fps))
    ]


def poses(puppet: Puppeteer) -> np.ndarray:
    return np.stack([pose.value for pose in puppet._engine.poses])


def jumps(values: np.ndarray) -> np.ndarray:
    return np.abs(np.diff(values, axis=0)).max(axis=(1, 2))


def test_before_the_first_face_the_neutral_avatar_is_shown() -> None:
    puppet = puppeteer(lambda t: None)
    steps = play(puppet, 0, 1)
    assert {step.status for step in steps} == {Status.LOST}
    np.testing.assert_array_equal(poses(puppet)[-1], puppet._engine.neutral.value)


def test_the_avatar_wakes_without_a_jump_while_calibrating_then_lives() -> None:
    puppet = puppeteer(lambda t: face(yaw=15 * np.sin(3 * t)))
    steps = play(puppet, 0, 6)
    shown = poses(puppet)
    still = shown[: int(0.4 * FPS)]
    np.testing.assert_array_equal(still, np.broadcast_to(shown[0], still.shape))
    assert jumps(shown).max() < 0.06
    assert np.abs(shown[-FPS:] - shown[0]).max() > 0.1
    statuses = [step.status for step in steps]
    assert statuses[0] is Status.CALIBRATING
    assert statuses[-1] is Status.LIVE
    assert statuses.index(Status.LIVE) / FPS == pytest.approx(3.0, abs=0.1)


def test_a_lost_face_is_held_then_eased_to_neutral() -> None:
    puppet = puppeteer(away(7.0, 20.0))
    steps = play(puppet, 0, 9)
    shown, neutral = poses(puppet), puppet._engine.neutral.value
    at = 7 * FPS
    held = shown[at : at + int(0.3 * FPS) - 1]
    np.testing.assert_allclose(held, np.broadcast_to(shown[at - 1], held.shape), atol=1e-6)
    assert np.abs(shown[at - 1] - neutral).max() > 0.05
    distance = np.abs(shown[at:] - neutral).max(axis=(1, 2))
    assert (np.diff(distance) <= 1e-6).all()
    # 0.3 s of holding and 1 s of easing after the last sight.
    assert distance[int(1.2 * FPS)] > 0
    assert distance[int(1.4 * FPS)] == pytest.approx(0, abs=1e-6)
    statuses = [step.status for step in steps[at:]]
    assert statuses[0] is Status.HOLDING
    assert statuses[-1] is Status.LOST
    assert statuses.index(Status.LOST) / FPS == pytest.approx(0.3, abs=0.05)
    assert jumps(shown[at - 1 :]).max() < 0.06


@pytest.mark.parametrize("gone_s", [0.15, 0.6, 1.0, 4.0])
def test_a_face_that_returns_takes_over_quickly_without_a_jump(gone_s: float) -> None:
    """It comes back elsewhere: turned the other way and shifted."""

    def script(t: float) -> np.ndarray | None:
        if t < 7:
            return face(yaw=20.0 if t > 4 else 0.0)
        return None if t < 7 + gone_s else face((350, 250), yaw=-20)

    puppet = puppeteer(script)
    play(puppet, 0, 7 + gone_s + 1)
    shown = poses(puppet)
    back = round((7 + gone_s) * FPS)
    assert jumps(shown[7 * FPS : back + 10]).max() < 0.12
    settled = shown[back + int(0.5 * FPS)]
    assert np.abs(settled - shown[-1]).max() < 0.03
    assert np.abs(settled - shown[back - 1]).max() > 0.05


def test_a_camera_that_is_gone_is_a_lost_face() -> None:
    puppet = puppeteer()
    play(puppet, 0, 7)
    idle = [puppet.idle(7 + i / FPS) for i in range(2 * FPS)]
    shown, neutral = poses(puppet), puppet._engine.neutral.value
    np.testing.assert_allclose(shown[7 * FPS + 3], shown[7 * FPS - 1], atol=1e-6)
    np.testing.assert_allclose(shown[-1], neutral, atol=1e-6)
    assert jumps(shown[7 * FPS - 1 :]).max() < 0.06
    assert {step.status for step in idle} == {Status.NO_CAMERA}
    assert all(step.driving is None for step in idle)
    assert idle[-1].frame.captured_at == pytest.approx(9 - 1 / FPS)


def has_mark(image: np.ndarray) -> bool:
    """Whether anything as magenta as the camera's picture, even shrunk, is in ``image``."""
    red, green, blue = np.moveaxis(image.astype(int), -1, 0)
    return bool(((np.minimum(red, blue) - green) > 40).any())


def test_camera_pixels_are_in_no_frame_whatever_happens() -> None:
    """Face there, lost, back, camera gone, panic, mirrored, zoomed, recentred, another avatar."""
    for landmarks in (tuple(NAMES), ()):
        puppet = puppeteer(away(4.5, 6.5), DotEngine(landmarks))
        steps = [*play(puppet, 0, 5), *(puppet.idle(5 + i / FPS) for i in range(20))]
        puppet.panic(True)
        steps += [*play(puppet, 6, 6.4), puppet.idle(6.4)]
        puppet.panic(False)
        change(puppet, "camera", mirror=True)
        change(puppet, "output", mirror=True)
        steps += play(puppet, 6.5, 7)
        change(puppet, "tracking", zoom=0.5)
        puppet.recentre()
        puppet.set_avatar(AVATAR)
        steps += play(puppet, 7, 8)
        assert {step.status for step in steps} == set(Status) - {Status.LIVE} | {Status.LIVE}
        for step in steps:
            assert not has_mark(step.frame.image)
            assert not has_mark(step.result)
        # The pattern really is what the camera sees.
        views = [step.driving for step in steps if step.driving is not None]
        assert len(views) > 100
        assert all(has_mark(view) for view in views)


def test_panic_shows_a_still_card_and_does_not_look_at_the_camera() -> None:
    puppet = puppeteer()
    play(puppet, 0, 5)
    looked = len(puppet._tracker.seen)
    puppet.panic(True)
    assert puppet.panicking
    cards = play(puppet, 5, 8)
    assert len(puppet._tracker.seen) == looked
    settings = puppet.settings.output
    assert {step.status for step in cards} == {Status.PANIC}
    # Still but for the mark, which swings by one level.
    images = np.array([step.frame.image for step in cards]).astype(np.int16)
    assert np.ptp(images, axis=0).max() <= 6
    plain = card(settings.width, settings.height)
    assert np.abs(images[:, :30] - plain[:30]).max() <= 3
    assert all(step.driving is None for step in cards)
    assert [step.frame.captured_at for step in cards] == [i / FPS for i in range(5 * FPS, 8 * FPS)]
    puppet.panic(False)
    before = poses(puppet)[-1]
    after = play(puppet, 8, 9)
    assert jumps(np.concatenate([before[None], poses(puppet)[-len(after) :]])).max() < 0.12
    assert after[-1].status is Status.LIVE


@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (256, 256), (480, 640)])
def test_frames_have_the_outputs_size_and_the_drivers_moment(size: tuple[int, int]) -> None:
    puppet = puppeteer(settings=Settings(output=OutputSettings(width=size[0], height=size[1])))
    step = puppet.step(Frame(CAMERA, 12.5, 7))
    assert step.frame.image.shape == (size[1], size[0], 3)
    assert (step.frame.captured_at, step.frame.index) == (12.5, 7)
    assert step.result.shape == (SIZE, SIZE, 3)
    assert step.driving is not None
    assert step.driving.shape == (SIZE, SIZE, 3)


def test_the_mirrored_output_is_flipped_and_its_label_is_not() -> None:
    lopsided = AVATAR.image.copy()
    lopsided[:, :20] = (10, 200, 10)
    pictures = {}
    for mirror in (False, True):
        for label in (False, True):
            settings = Settings(
                output=OutputSettings(mirror=mirror), label=LabelSettings(enabled=label)
            )
            puppet = puppeteer(lambda t: None, settings=settings)
            puppet.mark = Watermark(Payload(0, 0))
            puppet.set_avatar(Avatar("lopsided", lopsided))
            pictures[mirror, label] = puppet.step(Frame(CAMERA, 0, 0)).frame.image
    # The mark is the same in both, and so are its signs, which do not turn.
    turned = pictures[False, False][:, ::-1].astype(int)
    np.testing.assert_allclose(pictures[True, False], turned, atol=6)
    for mirror in (False, True):
        changed = (pictures[mirror, True] != pictures[mirror, False]).any(axis=2)
        ys, xs = np.nonzero(changed)
        assert ys.min() > 400
        assert xs.min() > 540
        letters = pictures[mirror, True][ys.min() : ys.max(), xs.min() : xs.max()] > 200
        # AI, not IA: the upright bar is on the right.
        columns = letters.all(axis=2).sum(axis=0)
        assert np.nonzero(columns == columns.max())[0].mean() > len(columns) / 2


def test_every_frame_carries_the_mark_whatever_it_shows() -> None:
    puppet = puppeteer(away(2, 20), settings=Settings(label=LabelSettings(enabled=False)))
    seen = play(puppet, 0, 4)
    lost = play(puppet, 4, 8)
    idle = [puppet.idle(8 + number / FPS) for number in range(4 * FPS)]
    puppet.panic(True)
    cards = play(puppet, 12, 16)
    for steps in (seen, lost, idle, cards):
        film = [(step.frame.image, step.frame.captured_at) for step in steps]
        reading = read_video(film, 10)
        assert reading.found
        assert reading.payload == puppet.mark.payload


@pytest.mark.parametrize("mirror", [False, True])
def test_the_label_keeps_off_a_face_in_its_corner(mirror: bool) -> None:
    pictures = []
    for label in (False, True):
        settings = Settings(
            output=OutputSettings(width=480, mirror=mirror), label=LabelSettings(enabled=label)
        )
        puppet = puppeteer(lambda t: None, settings=settings)
        puppet.mark = Watermark(Payload(0, 0))
        neutral = puppet._neutral
        assert neutral is not None
        # A face in the right lower quarter of the output.
        value = np.interp(neutral.value, (neutral.value.min(), neutral.value.max()), (0.1, 0.95))
        value[:, 0] *= -1 if mirror else 1
        puppet._neutral = replace_value(neutral, value)
        pictures.append(puppet.step(Frame(CAMERA, 0, 0)).frame.image)
    ys, xs = np.nonzero((pictures[0] != pictures[1]).any(axis=2))
    assert ys.min() > 400
    assert xs.max() < 240


def replace_value(keypoints: Keypoints, value: np.ndarray) -> Keypoints:
    return keypoints._replace(value=value.astype(np.float32))


def test_a_jumping_tracker_crop_is_not_motion() -> None:
    calm, jumpy = puppeteer(), puppeteer(jitter=6.0)
    play(calm, 0, 6)
    play(jumpy, 0, 6)
    np.testing.assert_allclose(poses(calm), poses(jumpy), atol=1e-4)


def test_a_network_that_tracker_and_engine_share_runs_once() -> None:
    shared, own = puppeteer(), puppeteer(reads=False)
    play(shared, 0, 1)
    play(own, 0, 1)
    assert len(shared._engine.cuts) == 0
    assert [cut.shape for cut in own._engine.cuts] == [(32, 32, 3)] * FPS


def test_unsupervised_keypoints_are_read_on_the_slow_stage() -> None:
    """The driver moves by a twentieth of the stage: its picture on the stage moves, too."""
    puppet = puppeteer(lambda t: face((320 if t < 4 else 335, 240)), DotEngine(()))
    puppet.settings = replace(SETTINGS, label=LabelSettings(enabled=False))
    spot = np.zeros((480, 640, 3), np.uint8)
    for i in range(5 * FPS):
        t = i / FPS
        picture = spot.copy()
        cv2.circle(picture, (320 if t < 4 else 335, 240), 20, (255, 255, 255), -1)
        puppet.step(Frame(picture, t, i))
    cuts = puppet._engine.cuts
    columns = [cut[..., 0].sum(axis=0) for cut in (cuts[3 * FPS], cuts[4 * FPS + 1])]
    first, second = (float((c * np.arange(32)).sum() / c.sum()) for c in columns)
    side = Crop.around(face()).side
    assert second - first == pytest.approx(15 * 31 / side, rel=0.15)


def test_another_avatar_keeps_the_drivers_neutral_pose() -> None:
    puppet = puppeteer(lambda t: face(yaw=15 if t > 4 else 0))
    play(puppet, 0, 5)
    before = poses(puppet)[-1]
    puppet.set_avatar(Avatar("other", np.full((SIZE, SIZE, 3), 50, np.uint8)))
    assert puppet.avatar is not None
    assert puppet.avatar.name == "other"
    (step,) = play(puppet, 5, 5 + 1 / FPS)
    assert step.status is Status.LIVE
    assert (step.result == 50).all(axis=2).any()
    np.testing.assert_allclose(poses(puppet)[-1], before, atol=0.01)


def test_recentre_makes_the_pose_of_now_neutral_without_a_jump() -> None:
    puppet = puppeteer(lambda t: face(roll=10 if t > 4 else 0))
    play(puppet, 0, 6)
    off = np.abs(poses(puppet)[-1] - puppet._engine.neutral.value).max()
    puppet.recentre()
    assert puppet.calibrating
    steps = play(puppet, 6, 7)
    after = poses(puppet)[-FPS - 1 :]
    assert steps[0].status is Status.CALIBRATING
    assert off > 0.05
    np.testing.assert_allclose(after[-1], puppet._engine.neutral.value, atol=0.005)
    assert jumps(after).max() < 0.05


def test_the_input_mirror_flips_what_the_tracker_sees_and_recentres() -> None:
    puppet = puppeteer()
    half = CAMERA.copy()
    half[:, :320] = 0
    puppet.step(Frame(half, 0.0, 0))
    change(puppet, "camera", mirror=True)
    puppet.step(Frame(half, 0.1, 1))
    one, other = puppet._tracker.seen
    np.testing.assert_array_equal(other, one[:, ::-1])
    assert puppet._tracker.resets == 1
    assert puppet.calibrating
    change(puppet, "camera", mirror=True)
    assert puppet._tracker.resets == 1


def test_zoom_scales_the_driving_view() -> None:
    puppet = puppeteer(lambda t: face())
    play(puppet, 0, 4)
    sides = [puppet._motion.stage.side]
    for zoom in (1.25, 2.0, 0.5):
        change(puppet, "tracking", zoom=zoom)
        play(puppet, 4, 6)
        sides.append(puppet._motion.stage.side)
    assert np.array(sides) / sides[0] == pytest.approx([1, 1.25, 2.0, 0.5], rel=0.02)


def test_a_slow_camera_does_not_make_every_frame_a_return() -> None:
    puppet = puppeteer(lambda t: face(yaw=15 if t > 5 else 0))
    play(puppet, 0, 8, fps=5)
    moved = np.abs(poses(puppet)[-1] - puppet._engine.neutral.value).max()
    fast = puppeteer(lambda t: face(yaw=15 if t > 5 else 0))
    play(fast, 0, 8)
    assert moved == pytest.approx(
        np.abs(poses(fast)[-1] - fast._engine.neutral.value).max(), rel=0.1
    )


def test_smoothing_calms_noise_and_can_be_switched_off() -> None:
    rng = np.random.default_rng(2)

    def noisy(t: float) -> np.ndarray:
        return face() + rng.normal(0, 0.5, (48, 2)).astype(np.float32)

    spread = {}
    for enabled in (True, False):
        smoothing = replace(SETTINGS.smoothing, enabled=enabled)
        settings = replace(SETTINGS, smoothing=smoothing)
        puppet = puppeteer(noisy, settings=settings)
        play(puppet, 0, 8)
        jaw = poses(puppet)[5 * FPS :, INDEX["chin"]]
        spread[enabled] = jaw.std(axis=0).mean()
    assert spread[True] < 0.65 * spread[False]


def test_a_taken_reference_is_used_from_the_first_frame_on() -> None:
    puppet = puppeteer(lambda t: face(yaw=0.0 if t == 0 else 18.0))
    puppet.take_reference(Frame(CAMERA, 0.0, 0))
    (step,) = play(puppet, 1, 1 + 1 / FPS)
    assert step.status is Status.LIVE
    assert np.abs(poses(puppet)[-1] - puppet._engine.neutral.value).max() > 0.08
    nobody = puppeteer(lambda t: None)
    with pytest.raises(SourceError, match="no face in driving frame 3"):
        nobody.take_reference(Frame(CAMERA, 0.0, 3))


def test_stages_are_told_in_seconds() -> None:
    (step,) = play(puppeteer(), 0, 1 / FPS)
    # The clock of this test goes on by a millisecond with each look.
    assert dict(step.stages) == pytest.approx(
        dict.fromkeys(("face", "keypoints", "motion", "generate", "compose"), 0.001)
    )


def test_without_an_avatar_the_user_is_told() -> None:
    puppet = Puppeteer(DotEngine(), ScriptTracker(sway), Settings())
    with pytest.raises(AvatarError, match="no avatar is set"):
        puppet.step(Frame(CAMERA, 0.0, 0))


def test_the_shipped_networks_follow_the_performer_from_end_to_end(tmp_path: Path) -> None:
    """Found, followed to a few pixels, calibrated, turned with it, lost, neutral again."""
    if not (DEFAULT / "bundle.json").exists():
        pytest.skip("the default bundle is not in models/weights")

    def act(t: float) -> performer.Moment:
        blink = 0.0 if 1.4 < t < 1.6 else 1.0
        turn = 22 * min(max(t - 1.6, 0.0), 1.0)
        return performer.Moment(yaw=turn, eye_left=blink, eye_right=blink)

    path = tmp_path / "avatar.png"
    portrait, _ = performer.perform(0.0, performer.random_appearance(5), 512, 512)
    cv2.imwrite(str(path), cv2.cvtColor(portrait, cv2.COLOR_RGB2BGR))
    settings = replace(SETTINGS, motion=replace(SETTINGS.motion, recentre_s=0.7))
    engine = open_engine(settings.engine)
    tracker = open_tracker(settings.tracking, engine)
    puppet = Puppeteer(engine, tracker, settings)
    puppet.set_avatar(load_avatar(path, tracker, engine.bundle.output_size))
    corners = [INDEX["right_eye_outer"], INDEX["left_eye_outer"]]
    fps, steps, errors = 10, [], []
    motion = performer.away(act, 4.0, 30.0)
    for i in range(6 * fps):
        image, truth = performer.perform(i / fps, motion=motion)
        steps.append(puppet.step(Frame(image, i / fps, i)))
        if i <= 3 * fps and tracker._last is not None:
            distance = np.hypot(*(tracker._last.landmarks - truth.landmarks).T).mean()
            right, left = truth.landmarks[corners]
            errors.append(float(distance / np.hypot(*(left - right))))
    engine.close()
    statuses = [step.status for step in steps]
    assert set(statuses[: 3 * fps]) == {Status.CALIBRATING, Status.LIVE}
    assert statuses[3 * fps] is Status.LIVE
    assert np.median(errors) < 0.1
    assert statuses[-1] is Status.LOST
    neutral, turned, after = (steps[i].result.astype(int) for i in (0, 3 * fps, -1))
    assert np.abs(turned - neutral).mean() > 2.0
    np.testing.assert_array_equal(after, neutral)


def test_noise_is_calmed_for_the_keypoints_only() -> None:
    rng = np.random.default_rng(2)
    noisy = np.clip(rng.normal(60, 8, (30, 480, 640, 3)), 0, 255).astype(np.uint8)
    spreads = {}
    for denoise in (False, True):
        engine, tracker = DotEngine(), ScriptTracker(lambda t: face(), reads=False)
        settings = replace(SETTINGS, camera=replace(SETTINGS.camera, denoise=denoise))
        puppet = Puppeteer(engine, tracker, settings, Clock())
        puppet.set_avatar(AVATAR)
        steps = [puppet.step(Frame(image, n / FPS, n)) for n, image in enumerate(noisy)]
        spreads[denoise] = [
            float(np.std(tracker.seen[-1])),
            float(np.std(engine.cuts[-1])),
            float(np.std(steps[-1].driving)),
        ]
    tracked, cut, preview = np.array(spreads[True]) / spreads[False]
    assert tracked < 0.5
    assert cut < 0.85  # of what the cut leaves of the noise, most is rounding
    assert preview == 1

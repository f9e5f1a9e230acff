from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from config.schema import CameraSettings, OutputSettings, Settings
from models.landmarks import COUNT
from realtime.avatar import Avatar
from realtime.controls import (
    HELP,
    Action,
    Controls,
    View,
    action_of,
    info_lines,
    preview_image,
)
from realtime.frame import Frame, Image
from realtime.metrics import Metrics
from realtime.puppeteer import Status, Step

SIDE = 128


class Puppet:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *values: self.told.append((name, *values))


class Posts:
    """The part of a Pipeline that controls use: actions run at once."""

    def __init__(self) -> None:
        self.puppet = Puppet()
        self.metrics = Metrics()

    def post(self, action: Callable[[Puppet], object]) -> None:
        action(self.puppet)


class Screen:
    """The part of a Window that controls use."""

    def __init__(self) -> None:
        self.waiting: list[int] = []
        self.closed = False
        self.info: tuple[str, ...] = ()
        self.shown: list[tuple[Image, tuple[str, ...]]] = []

    def pressed(self) -> list[int]:
        keys, self.waiting = self.waiting, []
        return keys

    def preview(self, image: Image, lines: tuple[str, ...]) -> None:
        self.shown.append((image, lines))


AVATARS = [Avatar(name, np.zeros((SIDE, SIDE, 3), np.uint8)) for name in ("ann", "bob", "cy")]


def make(settings: Settings | None = None) -> tuple[Controls, Screen, Posts]:
    screen, posts = Screen(), Posts()
    controls = Controls(posts, screen, AVATARS, settings or Settings())  # type: ignore[arg-type]
    return controls, screen, posts


def press(controls: Controls, screen: Screen, keys: str) -> bool:
    screen.waiting = [ord(key) for key in keys]
    return controls.poll()


def step(driving: Image | None, landmarks: np.ndarray | None = None, at_s: float = 0.0) -> Step:
    picture = np.full((SIDE, SIDE, 3), 9, np.uint8)
    return Step(Frame(picture, at_s, 0), picture, driving, Status.LIVE, {"face": 0.004}, landmarks)


def view_of_driver() -> Image:
    return np.random.default_rng(1).integers(100, 200, (SIDE, SIDE, 3), np.uint8)


@pytest.mark.parametrize(
    ("key", "action"),
    [
        ("1", (Action.AVATAR, 0)),
        ("9", (Action.AVATAR, 8)),
        ("a", (Action.PREVIOUS_AVATAR, 0)),
        ("D", (Action.NEXT_AVATAR, 0)),
        ("x", (Action.RECENTRE, 0)),
        ("w", (Action.ZOOM_IN, 0)),
        ("S", (Action.ZOOM_OUT, 0)),
        ("i", (Action.INFO, 0)),
        ("r", (Action.MIRROR_PREVIEW, 0)),
        ("t", (Action.MIRROR_OUTPUT, 0)),
        ("o", (Action.OVERLAY, 0)),
        ("p", (Action.PANIC, 0)),
        ("f", (Action.MIRROR_INPUT, 0)),
        ("\x1b", (Action.QUIT, 0)),
    ],
)
def test_key_means_what_users_know(key: str, action: tuple[Action, int]) -> None:
    assert action_of(ord(key)) == action


def test_no_key_shows_the_camera_and_all_others_mean_nothing() -> None:
    known = set("123456789adxwsirtopf" + "ADXWSIRTOPF" + "\x1b")
    for key in range(256):
        assert (action_of(key) is None) == (chr(key) not in known)
    assert action_of(ord("0")) is None


def test_help_names_every_letter() -> None:
    words = HELP.replace("/", " ").split()
    assert {w for w in words if len(w) == 1 and w.isupper()} == set("ADXWSPFTROI")


def test_avatars_are_chosen_by_number_and_in_a_ring() -> None:
    controls, screen, posts = make()
    press(controls, screen, "2")
    press(controls, screen, "d")
    press(controls, screen, "d")  # from the last to the first
    press(controls, screen, "a")  # and back
    press(controls, screen, "19")  # 9 of 3: the last one
    names = [avatar.name for told, avatar in posts.puppet.told if told == "set_avatar"]
    assert names == ["bob", "cy", "ann", "cy", "ann", "cy"]


def test_avatar_that_is_shown_is_not_encoded_again() -> None:
    controls, screen, posts = make()
    press(controls, screen, "11")
    assert posts.puppet.told == []


def test_recentre_and_zoom_reach_the_puppeteer() -> None:
    controls, screen, posts = make()
    press(controls, screen, "xwws")
    assert [told[0] for told in posts.puppet.told] == ["recentre", "zoom", "zoom", "zoom"]
    factors = [told[1] for told in posts.puppet.told[1:]]
    assert factors == pytest.approx([1 / 1.05, 1 / 1.05, 1.05])  # nearer is a smaller crop


def test_switches_go_on_and_off() -> None:
    controls, screen, posts = make()
    press(controls, screen, "pft")
    press(controls, screen, "PFT")
    assert posts.puppet.told == [
        ("panic", True), ("mirror_input", True), ("mirror_output", True),
        ("panic", False), ("mirror_input", False), ("mirror_output", False),
    ]  # fmt: skip


def test_switches_start_from_the_settings() -> None:
    mirrored = Settings(camera=CameraSettings(mirror=True), output=OutputSettings(mirror=True))
    controls, screen, posts = make(mirrored)
    press(controls, screen, "ft")
    assert posts.puppet.told == [("mirror_input", False), ("mirror_output", False)]


def test_escape_and_a_closed_window_end_the_run() -> None:
    controls, screen, _ = make()
    assert not press(controls, screen, "x")
    screen.closed = True
    assert press(controls, screen, "")
    controls, screen, _ = make()
    assert press(controls, screen, "\x1b")
    assert press(controls, screen, "x")  # and it stays so


def test_preview_is_the_drivers_view_with_its_status() -> None:
    controls, screen, _ = make()
    driving = view_of_driver()
    controls.show(step(driving))
    image, lines = screen.shown[0]
    np.testing.assert_array_equal(image, driving)
    assert lines == ("live",)


def test_preview_mirror_and_overlay_change_the_preview_only() -> None:
    controls, screen, posts = make()
    driving = view_of_driver()
    before = driving.copy()
    press(controls, screen, "r")
    controls.show(step(driving))
    np.testing.assert_array_equal(screen.shown[0][0], driving[:, ::-1])
    press(controls, screen, "o")
    shown = step(driving, np.zeros((COUNT, 2), np.float32))
    controls.show(shown)
    assert (screen.shown[1][0] != driving[:, ::-1]).any()
    np.testing.assert_array_equal(driving, before)
    assert (shown.frame.image == 9).all()
    assert posts.puppet.told == []


def test_landmarks_are_drawn_where_they_are() -> None:
    driving = np.full((SIDE, SIDE, 3), 100, np.uint8)
    landmarks = np.zeros((COUNT, 2), np.float32)
    landmarks[0] = (-0.5, 0.25)  # left, below the middle: x 31.75, y 79.4
    drawn = preview_image(step(driving, landmarks), View(overlay=True))
    green = drawn[..., 1] > 150
    assert green[79, 32]
    assert green[63:65, 63:65].any()  # all others, in the middle
    assert green.sum() < 40
    assert (drawn[0, 0] == 50).all()  # dimmed
    mirrored = preview_image(step(driving, landmarks), View(overlay=True, mirror_preview=True))
    assert mirrored[79, SIDE - 1 - 32, 1] > 150


def test_without_a_camera_picture_the_preview_is_black() -> None:
    controls, screen, _ = make()
    controls.show(step(None))
    assert screen.shown[0][0].shape == (SIDE, SIDE, 3)
    assert not screen.shown[0][0].any()


def test_info_is_shown_when_asked_and_refreshed_twice_a_second() -> None:
    controls, screen, posts = make()
    controls.show(step(None))
    assert screen.info == ()
    press(controls, screen, "i")
    controls.show(step(None, at_s=10.0))
    for number in range(31):
        posts.metrics.record(20 + number / 30 - 0.07, 20 + number / 30, {})
    controls.show(step(None, at_s=10.4))
    assert screen.info[0].startswith("0.0 fps")
    controls.show(step(None, at_s=10.5))
    assert screen.info == ("30.0 fps  age 70 ms  live", "face 4 ms", "avatar: ann")
    press(controls, screen, "i")
    assert screen.info == ()


def test_info_of_a_step_without_stages_has_no_empty_line() -> None:
    shown = step(None)
    bare = Step(shown.frame, shown.result, None, Status.PANIC, {})
    assert info_lines(bare, Metrics(), "bob") == ("0.0 fps  age 0 ms  panic", "avatar: bob")

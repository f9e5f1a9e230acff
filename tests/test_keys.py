from typing import Any

import numpy as np
import pytest
from puppet import AVATARS, Puppet, wait_for_avatars

from config.schema import Settings
from control.actions import KEYS, Actions
from control.keys import HELP, Keys, View, info_lines, preview_image
from models.landmarks import COUNT
from realtime.crop import Crop
from realtime.frame import Frame, Image
from realtime.metrics import Metrics
from realtime.puppeteer import Status, Step
from realtime.puppeteer import View as Sight

SIDE = 128


class Screen:
    """The part of a Window that keys use."""

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


def make() -> tuple[Keys, Screen, Puppet, Metrics]:
    screen, puppet, metrics = Screen(), Puppet(), Metrics()

    def no_finder() -> Any:
        raise AssertionError("keys load no pictures")

    actions = Actions(
        lambda action: action(puppet),  # type: ignore[arg-type, return-value]
        metrics, AVATARS, Settings(), puppet.prepare, no_finder, SIDE,
    )  # fmt: skip
    return Keys(actions, screen), screen, puppet, metrics  # type: ignore[arg-type]


def press(keys: Keys, screen: Screen, letters: str) -> bool:
    ended = False
    for letter in [[], *letters]:
        screen.waiting = [ord(one) for one in letter]
        ended = keys.poll()
        wait_for_avatars()
    return ended


def step(driving: Image | None, landmarks: np.ndarray | None = None, at_s: float = 0.0) -> Step:
    picture = np.full((SIDE, SIDE, 3), 9, np.uint8)
    view = Sight(driving, Crop.whole(driving), SIDE) if driving is not None else None
    return Step(Frame(picture, at_s, 0), picture, view, Status.LIVE, {"face": 0.004}, landmarks)


def view_of_driver() -> Image:
    return np.random.default_rng(1).integers(100, 200, (SIDE, SIDE, 3), np.uint8)


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("2", ("avatar", "bob")),
        ("a", ("avatar", "cy")),
        ("D", ("avatar", "bob")),
        ("x", ("recentre",)),
        ("p", ("panic", True)),
        ("P", ("panic", True)),
    ],
)
def test_key_means_what_users_know(key: str, told: tuple[Any, ...]) -> None:
    keys, screen, puppet, _ = make()
    press(keys, screen, key)
    assert puppet.told == [told]


def test_keys_change_zoom_and_mirrors() -> None:
    keys, screen, puppet, _ = make()
    press(keys, screen, "wwsft")
    assert puppet.settings.tracking.zoom == pytest.approx(1 / 1.05)  # nearer is a smaller crop
    assert puppet.settings.camera.mirror
    assert puppet.settings.output.mirror
    press(keys, screen, "FT")
    assert not puppet.settings.camera.mirror
    assert not puppet.settings.output.mirror


def test_no_key_shows_the_camera_and_all_others_mean_nothing() -> None:
    known = set("123456789adxwsptf" + "rio" + "\x1b")
    assert set(KEYS) == known - set("rio\x1b")
    keys, screen, puppet, _ = make()
    for key in range(256):
        if chr(key).lower() not in known:
            assert not press(keys, screen, chr(key))
    assert (puppet.told, puppet.settings, keys.view) == ([], Settings(), View())


def test_help_names_every_letter() -> None:
    words = HELP.replace("/", " ").split()
    assert {w for w in words if len(w) == 1 and w.isupper()} == set("ADXWSPFTROI")


def test_number_without_an_avatar_is_told_in_the_preview_until_the_next_key() -> None:
    keys, screen, puppet, _ = make()
    press(keys, screen, "9")
    keys.show(step(view_of_driver()))
    assert screen.shown[-1][1] == (
        "live", "there is no avatar '9'; there are 1 ann, 2 bob, 3 cy",
    )  # fmt: skip
    press(keys, screen, "x")
    keys.show(step(view_of_driver()))
    assert screen.shown[-1][1] == ("live",)
    assert puppet.told == [("recentre",)]


def test_escape_and_a_closed_window_end_the_run() -> None:
    keys, screen, _, _ = make()
    assert not press(keys, screen, "x")
    screen.closed = True
    assert press(keys, screen, "")
    keys, screen, _, _ = make()
    assert press(keys, screen, "\x1b")
    assert press(keys, screen, "x")  # and it stays so


def test_preview_is_the_drivers_view_with_its_status() -> None:
    keys, screen, _, _ = make()
    driving = view_of_driver()
    keys.show(step(driving))
    image, lines = screen.shown[0]
    np.testing.assert_array_equal(image, driving)
    assert lines == ("live",)


def test_preview_mirror_and_overlay_change_the_preview_only() -> None:
    keys, screen, puppet, _ = make()
    driving = view_of_driver()
    before = driving.copy()
    press(keys, screen, "r")
    keys.show(step(driving))
    np.testing.assert_array_equal(screen.shown[0][0], driving[:, ::-1])
    press(keys, screen, "o")
    shown = step(driving, np.zeros((COUNT, 2), np.float32))
    keys.show(shown)
    assert (screen.shown[1][0] != driving[:, ::-1]).any()
    np.testing.assert_array_equal(driving, before)
    assert (shown.frame.image == 9).all()
    assert puppet.told == []


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
    keys, screen, _, _ = make()
    keys.show(step(None))
    assert screen.shown[0][0].shape == (SIDE, SIDE, 3)
    assert not screen.shown[0][0].any()


def test_info_is_shown_when_asked_and_refreshed_twice_a_second() -> None:
    keys, screen, _, metrics = make()
    keys.show(step(None))
    assert screen.info == ()
    press(keys, screen, "i")
    keys.show(step(None, at_s=10.0))
    for number in range(31):
        metrics.record(20 + number / 30 - 0.07, 20 + number / 30, {})
    keys.show(step(None, at_s=10.4))
    assert screen.info[0].startswith("0.0 fps")
    keys.show(step(None, at_s=10.5))
    assert screen.info == (
        "30.0 fps  age 70 ms  live",
        "face 4 ms",
        "avatar: ann  sound offset: 70 ms",
    )
    press(keys, screen, "i")
    assert screen.info == ()


def test_info_of_a_step_without_stages_has_no_empty_line() -> None:
    shown = step(None)
    bare = Step(shown.frame, shown.result, None, Status.PANIC, {})
    assert info_lines(bare, Metrics(), "bob") == ("0.0 fps  age 0 ms  panic", "avatar: bob")

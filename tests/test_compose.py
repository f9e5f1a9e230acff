"""Scenes that change while pictures go on."""

import gc
import logging
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_face import face

from config.errors import SettingsError
from config.schema import LabelSettings, OutputSettings
from realtime.avatar import Avatar
from realtime.compose import Composer, matte_of
from realtime.crop import Crop
from realtime.cutout import cut_out, with_label
from realtime.frame import Frame
from realtime.scene import Scene


def output(**more: str) -> OutputSettings:
    return OutputSettings(width=96, height=64, **more)  # type: ignore[arg-type]


def avatar(name: str = "one", level: int = 90) -> Avatar:
    full = np.full((160, 160, 3), level, np.uint8)
    crop = Crop(80, 80, 100)
    matte = np.zeros((160, 160), np.uint8)
    matte[60:, 50:110] = 255
    landmarks = face((80, 80), 50)
    return Avatar(name, crop.cut(full, 64), full=full, crop=crop, landmarks=landmarks, matte=matte)


def settle() -> None:
    for thread in threading.enumerate():
        if thread.name == "compose":
            thread.join(10)
            assert not thread.is_alive()


def test_changed_settings_show_once_their_scene_is_made() -> None:
    composer = Composer(output(), carries=True)
    composer.show(avatar())
    before = composer.scene
    composer.change(output(compose="place"))
    settle()
    assert composer.scene is not before
    assert composer.scene.settings.compose == "place"


def test_a_change_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    class Slow(Scene):
        def __init__(self, shown: Avatar, settings: OutputSettings, **more: object) -> None:
            if settings.compose == "crop":
                assert go_on.wait(10)
            super().__init__(shown, settings, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("realtime.compose.Scene", Slow)
    composer = Composer(output(), carries=True)
    composer.show(avatar())
    before = composer.scene
    composer.change(output(compose="crop"))
    composer.change(output(compose="place"))  # nor do later ones queue up behind it
    composer.change(output(compose="fit", background="green"))
    for _ in range(3):
        assert composer.scene is before
    go_on.set()
    settle()
    assert composer.scene.settings.background == "green"


def test_a_scene_of_an_avatar_that_is_gone_never_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, begun = threading.Event(), threading.Event()

    class Slow(Scene):
        def __init__(self, shown: Avatar, settings: OutputSettings, **more: object) -> None:
            super().__init__(shown, settings, **more)  # type: ignore[arg-type]
            if threading.current_thread().name == "compose":
                begun.set()
                assert go_on.wait(10)

    monkeypatch.setattr("realtime.compose.Scene", Slow)
    composer = Composer(output(), carries=True)
    composer.show(avatar("one"))
    composer.change(output(compose="place"))
    assert begun.wait(10)
    later = threading.Timer(0.05, go_on.set)
    later.start()
    composer.show(avatar("two"))
    settle()
    assert composer.scene.avatar.name == "two"
    assert composer.scene.settings.compose == "place"


def test_a_prepared_avatar_is_shown_without_making_its_scene(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[tuple[str, str]] = []

    class Counted(Scene):
        def __init__(self, shown: Avatar, settings: OutputSettings, **more: object) -> None:
            made.append((shown.name, threading.current_thread().name))
            super().__init__(shown, settings, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("realtime.compose.Scene", Counted)
    composer = Composer(output(), carries=True)
    one, two = avatar("one"), avatar("two")
    composer.show(one)
    beside = threading.Thread(target=composer.prepare, args=(two,), name="beside")
    beside.start()
    beside.join()
    assert composer.scene.avatar is one
    composer.show(two)
    assert composer.scene.avatar is two
    assert made == [("one", "MainThread"), ("two", "beside")]
    composer.prepare(one)
    composer.show(two)  # another one than was prepared
    composer.prepare(one)
    composer.change(output(compose="place"))
    settle()
    composer.show(one)  # prepared for other settings
    assert composer.scene.avatar is one
    assert composer.scene.settings.compose == "place"
    Composer(output(background=str(tmp_path / "none")), carries=True).prepare(one)


def test_settings_that_cannot_be_followed_are_told_and_left(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    composer = Composer(output(), carries=True)
    composer.show(avatar("one"))
    missing = str(tmp_path / "gren")
    composer.change(output(background=missing))
    with caplog.at_level(logging.WARNING):
        settle()
    assert "there is no picture" in caplog.text
    assert "gren'; give the path of one, or one of avatar, green, alpha" in caplog.text
    assert composer.scene.settings.background == "avatar"
    composer.show(avatar("two"))  # nor do they stop another avatar
    assert composer.scene.avatar.name == "two"
    with pytest.raises(SettingsError, match="gren"):
        Composer(output(background=missing), carries=True).show(avatar())


def test_a_scene_for_which_there_is_no_memory_is_told_and_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    composer = Composer(output(), carries=True)
    composer.show(avatar())
    before = composer.scene

    def no_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Composer, "_make", no_memory)
    with caplog.at_level(logging.WARNING):
        composer.change(output(background="green"))
        settle()
    assert composer.scene is before
    assert "MemoryError; the output stays as it was" in caplog.text


def test_a_background_that_is_gone_later_stays(tmp_path: Path) -> None:
    path = tmp_path / "wall.png"
    cv2.imwrite(str(path), np.full((64, 96, 3), (10, 20, 200), np.uint8))
    composer = Composer(output(background=str(path)), carries=True)
    composer.show(avatar("one"))
    path.unlink()
    composer.show(avatar("two"))
    scene = composer.scene
    assert scene.carrier is not None
    still = scene.carrier(
        np.zeros((2, 64, 64), np.float32),
        np.zeros((3, 256, 256), np.float32),
        np.ones((1, 256, 256), np.float32),
    )
    assert (scene.compose(still)[0][3, 3] == (200, 20, 10)).all()


def test_the_rate_and_mirroring_need_no_new_scene() -> None:
    composer = Composer(output(), carries=True)
    composer.show(avatar())
    before = composer.scene
    composer.change(OutputSettings(width=96, height=64, fps=25.0, mirror=True))
    settle()
    assert composer.scene is before


def test_a_pictures_own_transparency_is_the_matte() -> None:
    shown = avatar()
    assert matte_of(shown) is shown.matte
    with pytest.raises(SettingsError, match="avatar bare has no picture to cut a person out of"):
        matte_of(Avatar("bare", shown.image))


def test_a_person_is_told_from_his_background_where_there_are_landmarks() -> None:
    whole = replace(avatar(), matte=None)
    for carries, shown, told in (
        (True, avatar(), True),
        (True, whole, True),
        (True, replace(whole, full=None, crop=None, landmarks=None), False),
        (False, whole, False),
    ):
        composer = Composer(output(), carries=carries)
        composer.show(shown)
        carrier = composer.scene.carrier
        if carrier is not None:
            still, paint = np.zeros((2, 64, 64), np.float32), np.zeros((3, 64, 64), np.float32)
            carrier(still, paint, np.ones((1, 64, 64), np.float32))
        assert (carrier is not None and carrier.matte.min() == 0) == told


def test_cutting_out_gives_the_persons_colours_and_the_label_back() -> None:
    alpha = np.zeros((200, 300), np.uint8)
    alpha[:, 100:200] = 255
    alpha[:, 95:100] = 128
    person = np.array((200, 120, 40))
    green = np.array((0, 255, 0))
    cover = alpha[..., None] / 255
    image = np.rint(person * cover + green * (1 - cover)).astype(np.uint8)
    label = LabelSettings(opacity=1.0)
    found = cut_out(Frame(image, 0.0, 0, with_label(alpha, label)))
    assert found.shape == (200, 300, 4)
    assert np.abs(found[:150, 95:200, :3].astype(int) - person).max() <= 2
    np.testing.assert_array_equal(found[:150, :, 3], alpha[:150])
    assert found[170:, 240:, 3].max() == 255  # the label at the lower right is not transparent
    opaque = cut_out(Frame(image, 0.0, 0))
    assert (opaque[..., 3] == 255).all()
    np.testing.assert_array_equal(opaque[..., :3], image)


def test_making_a_scene_at_720p_is_quick() -> None:
    began = time.process_time()
    Composer(OutputSettings(width=1280, height=720), carries=True).show(avatar())
    assert time.process_time() - began < 2


def test_avatars_long_gone_are_let_go() -> None:
    composer = Composer(output(background="green"), carries=True)
    first = avatar()
    seen = weakref.ref(first.full)  # type: ignore[arg-type]
    composer.show(first)
    del first
    for _ in range(20):  # a picture that is read anew, say
        composer.show(avatar())
    gc.collect()
    assert seen() is None

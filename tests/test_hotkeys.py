"""Global hotkeys: on a real X server where there is one, and what is said where there is none."""

import gc
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from puppet import AVATARS, SIDE, Puppet

from config.errors import ControlError, MissingPackageError, SettingsError
from config.schema import HotkeySettings, Settings, load_settings
from control.actions import KEYS, Actions
from control.hotkeys import Hotkeys, check_desktop
from realtime.metrics import Metrics

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11 is on Linux")


def make() -> tuple[Actions, Puppet]:
    puppet = Puppet()
    post: Any = lambda action: action(puppet)  # noqa: E731
    finder: Any = None
    return Actions(post, Metrics(), AVATARS, Settings(), puppet.prepare, finder, SIDE), puppet


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"XDG_SESSION_TYPE": "wayland", "DISPLAY": ":0"}, "Wayland shows a program no keys"),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "Wayland shows a program no keys"),
        ({}, "need a desktop, found none"),
    ],
)
def test_desktop_that_allows_none_is_told_with_the_other_way(
    environment: dict[str, str], message: str
) -> None:
    with pytest.raises(ControlError, match=message) as caught:
        check_desktop(environment)
    assert "puppetcam ctl panic" in str(caught.value)
    check_desktop({"DISPLAY": ":0", "XDG_SESSION_TYPE": "x11"})


@LINUX
def test_missing_package_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("XDG_SESSION_TYPE", raising=False)
    monkeypatch.setitem(sys.modules, "Xlib", None)
    with pytest.raises(
        MissingPackageError, match=r'need python-xlib; .*pip install "\.\[hotkeys\]"'
    ):
        Hotkeys(make()[0], HotkeySettings())


@pytest.mark.parametrize("text", ["", "ctrl+ctrl", "strg", "ctrl alt", "+"])
def test_modifiers_are_checked(text: str) -> None:
    with pytest.raises(SettingsError, match=r"hotkeys\.modifiers. must be some of ctrl, alt"):
        load_settings(None, [f"hotkeys.modifiers='{text}'"])


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An X server of its own."""
    pytest.importorskip("Xlib", reason='python-xlib is not installed: pip install ".[hotkeys]"')
    for program in ("Xvfb", "xdotool"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    read, write = os.pipe()
    with subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "320x240x24", "-noreset"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    ) as server:
        os.close(write)
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        assert number
        monkeypatch.setenv("DISPLAY", f":{number}")
        for name in ("WAYLAND_DISPLAY", "XDG_SESSION_TYPE", "XAUTHORITY"):
            monkeypatch.delenv(name, raising=False)
        yield f":{number}"
        server.terminate()


def press(*keys: str) -> None:
    subprocess.run(["xdotool", "key", *keys], check=True, timeout=20)


def wait_for(puppet: Puppet, count: int) -> list[Any]:
    deadline = time.monotonic() + 10
    while len(puppet.told) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    return puppet.told


@LINUX
def test_keys_with_modifiers_act_from_anywhere_and_others_do_not(screen: str) -> None:
    actions, puppet = make()
    with Hotkeys(actions, HotkeySettings()):
        press("p", "ctrl+p", "alt+x", "ctrl+alt+q")  # nothing of ours
        press("ctrl+alt+p")
        assert wait_for(puppet, 1) == [("panic", True)]
        press("ctrl+alt+2", "ctrl+alt+d", "ctrl+alt+x", "ctrl+alt+9", "ctrl+alt+1")
        assert wait_for(puppet, 5)[1:] == [
            ("avatar", "bob"), ("avatar", "cy"), ("recentre",), ("avatar", "ann"),
        ]  # fmt: skip
        press("ctrl+alt+w")
    deadline = time.monotonic() + 10
    while puppet.settings.tracking.zoom == 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert puppet.settings.tracking.zoom == pytest.approx(1 / 1.05)
    told = list(puppet.told)
    press("ctrl+alt+p")  # given back
    time.sleep(0.2)
    assert puppet.told == told


@LINUX
def test_key_that_is_held_counts_once(screen: str) -> None:
    actions, puppet = make()
    with Hotkeys(actions, HotkeySettings(modifiers="shift+cmd")):
        subprocess.run(
            ["xdotool", "keydown", "super", "keydown", "shift", "keydown", "p"], check=True
        )
        time.sleep(1.2)  # X begins to repeat after 0.66 s
        subprocess.run(["xdotool", "keyup", "p", "keyup", "shift", "keyup", "super"], check=True)
        assert wait_for(puppet, 1) == [("panic", True)]
        press("super+shift+x")
        assert wait_for(puppet, 2) == [("panic", True), ("recentre",)]


@LINUX
def test_hotkeys_of_another_program_are_told(screen: str, caplog: pytest.LogCaptureFixture) -> None:
    one, _ = make()
    other, puppet = make()
    with Hotkeys(one, HotkeySettings()):
        assert caplog.messages == []
        with Hotkeys(other, HotkeySettings()):
            (message,) = caplog.messages
            assert message.startswith("another program has these hotkeys: ctrl+alt with A D X")
        with Hotkeys(other, HotkeySettings(modifiers="ctrl+shift")):
            assert len(caplog.messages) == 1
            press("ctrl+shift+x")
            assert wait_for(puppet, 1) == [("recentre",)]


@LINUX
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_display_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("Xlib", reason='python-xlib is not installed: pip install ".[hotkeys]"')
    monkeypatch.setenv("DISPLAY", ":987")
    for name in ("WAYLAND_DISPLAY", "XDG_SESSION_TYPE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ControlError, match="no X server answers") as caught:
        Hotkeys(make()[0], HotkeySettings())
    assert "\n" not in str(caught.value)
    del caught
    gc.collect()  # python-xlib leaves its sockets open here


def test_every_hotkey_is_a_single_key() -> None:
    assert all(len(key) == 1 and key.isalnum() for key in KEYS)

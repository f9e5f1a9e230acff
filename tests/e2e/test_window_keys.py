"""Every key of the README's table, pressed by xdotool in the real window, does what it says."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from desktop import ROOT, Desktop, apart, need
from performed import write_avatar

from realtime.frame import Image
from realtime.window import Window

AVATARS = 9
GREEN = (80, 255, 120)
"""Of the landmarks."""
SECONDS = 40.0
"""Longest wait for what a key does: machines that test are busy."""


@pytest.fixture
def desktop() -> Iterator[Desktop]:
    need("Xvfb", "xdotool")
    pytest.importorskip("Xlib", reason="not installed: python-xlib")
    with Desktop() as one:
        one.display()
        yield one


class Screen:
    """The two windows of a run, looked at and typed into from outside."""

    def __init__(self, desktop: Desktop) -> None:
        from Xlib.display import Display

        self._desktop = desktop
        self._display = Display(desktop.environment["DISPLAY"])
        self._windows = {title: self._find(title) for title in (Window.OUTPUT, Window.PREVIEW)}
        # Side by side: what is covered cannot be seen.
        desktop.run(["xdotool", "windowmove", self._windows[Window.PREVIEW], "660", "0"])

    def _find(self, title: str) -> str:
        words = ["xdotool", "search", "--sync", "--onlyvisible", "--name", re.escape(title)]
        return self._desktop.run(words).split()[0]

    def press(self, key: str, title: str = Window.OUTPUT) -> None:
        """As a user does: the window has the focus, and the key is pressed and let go."""
        self._desktop.run(["xdotool", "windowfocus", "--sync", self._windows[title], "key", key])

    def shown(self, title: str) -> Image:
        """What is to be seen in a window, (H, W, 3) uint8 RGB."""
        from Xlib import X

        window = self._display.create_resource_object("window", int(self._windows[title]))
        size = window.get_geometry()
        pixels = window.get_image(0, 0, size.width, size.height, X.ZPixmap, 0xFFFFFFFF).data
        bgrx = np.frombuffer(pixels, np.uint8).reshape(size.height, size.width, 4)
        return np.asarray(bgrx[:, :, 2::-1])

    def close(self) -> None:
        self._display.close()


def keys_of_the_readme() -> set[str]:
    """The letters, digits and names in the columns "key" of the table."""
    text = (ROOT / "README.md").read_text("utf-8")
    table = text.partition("### Keys in the window")[2].partition("\n\n")[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    keys = " ".join(cell for row in rows for cell in row[::2]).split()
    return set(keys) - {"1-9"} | set("123456789")


def test_each_key_of_the_readme_does_what_it_says(desktop: Desktop, tmp_path: Path) -> None:
    for number in range(1, AVATARS + 1):
        write_avatar(tmp_path / f"{number}.png", seed=number)
    run = desktop.puppetcam("--avatar", str(tmp_path), "--sink", "window")
    pressed = set()
    with closing(Screen(desktop)) as screen:

        def press(key: str, then: Callable[[], object], title: str = Window.OUTPUT) -> None:
            pressed.add(key)
            screen.press("Escape" if key == "ESC" else key.lower(), title)
            desktop.wait_until(then, SECONDS, f"what {key} does", None if key == "ESC" else run)

        def status_is(**wanted: object) -> Callable[[], bool]:
            return lambda: wanted.items() <= desktop.status().items()

        def other_than(before: Image, levels: float) -> Callable[[], bool]:
            return lambda: apart(desktop.snapshot(), before) > levels

        for number in (2, 3, 4, 5, 6, 7, 8, 9, 1):
            changed = other_than(desktop.snapshot(), 5)
            press(str(number), status_is(avatar={"number": number, "name": str(number)}))
            desktop.wait_until(changed, SECONDS, "another face")
        press("A", status_is(avatar={"number": 9, "name": "9"}))
        changed = other_than(desktop.snapshot(), 5)
        press("D", status_is(avatar={"number": 1, "name": "1"}))
        desktop.wait_until(changed, SECONDS, "another face")

        def calibrations() -> int:
            return desktop.said().count("calibrating")

        begun = calibrations()
        press("X", lambda: calibrations() > begun)
        press("W", status_is(zoom=round(1 / 1.05, 4)))
        press("S", status_is(zoom=1.0))

        def turned(picture: Callable[[], Image]) -> Callable[[], bool]:
            # The face moves, but no picture is its own mirror image, unless a window is
            # looked at before anything is drawn in it.
            seen: list[Image] = []

            def is_drawn() -> bool:
                seen.append(picture())
                return apart(seen[-1], seen[-1][:, ::-1]) > 2

            desktop.wait_until(is_drawn, SECONDS, "a picture")
            before = seen[-1]

            def is_now() -> bool:
                now = picture()
                return apart(now, before[:, ::-1]) < apart(now, before)

            return is_now

        def preview() -> Image:
            return screen.shown(Window.PREVIEW)

        for on in (True, False):
            preview_turned, output_turned = turned(preview), turned(desktop.snapshot)
            press("F", status_is(mirror_camera=on))
            desktop.wait_until(preview_turned, SECONDS, "the camera's picture turns")
            assert not output_turned()
            output_turned = turned(desktop.snapshot)
            press("T", status_is(mirror_output=on))
            desktop.wait_until(output_turned, SECONDS, "the output turns")
            output_turned = turned(desktop.snapshot)
            press("R", turned(preview), Window.PREVIEW)
            assert not output_turned()

        def dots() -> int:
            return int((np.abs(preview().astype(np.int16) - GREEN).max(axis=2) < 12).sum())

        assert dots() < 20
        press("O", lambda: dots() > 500, Window.PREVIEW)
        press("O", lambda: dots() < 20, Window.PREVIEW)

        def text() -> int:
            return int((screen.shown(Window.OUTPUT)[:110].min(axis=2) > 240).sum())

        assert text() < 10
        press("I", lambda: text() > 40)
        assert int((desktop.snapshot()[:110].min(axis=2) > 240).sum()) < 10
        press("I", lambda: text() < 10)

        for on in (True, False):
            changed = other_than(desktop.snapshot(), 20)
            press("P", status_is(panic=on))
            desktop.wait_until(changed, SECONDS, "the card" if on else "the avatar")
        press("ESC", lambda: run.poll() is not None)
        assert run.returncode == 0
    assert pressed == keys_of_the_readme()

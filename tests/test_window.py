import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from ctypes.util import find_library
from pathlib import Path

import cv2
import numpy as np
import pytest

from config.errors import SinkError
from config.schema import OutputSettings
from realtime import window as module
from realtime.sinks import open_sink
from realtime.window import Window, draw_lines

SETTINGS = OutputSettings(width=64, height=48, fps=30)
ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="displays as Linux has them")
@pytest.mark.parametrize(
    ("display", "wayland", "message"),
    [
        (None, None, "needs a display, found none"),
        (None, "wayland-0", r"found only Wayland \(start XWayland\)"),
        (":987", None, "no window can be opened on DISPLAY=:987"),
    ],
)
def test_missing_display_is_an_error_and_no_abort(
    monkeypatch: pytest.MonkeyPatch, display: str | None, wayland: str | None, message: str
) -> None:
    for name, value in (("DISPLAY", display), ("WAYLAND_DISPLAY", wayland)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(SinkError, match=message):
        open_sink("window", SETTINGS)


def test_text_is_drawn_on_a_copy() -> None:
    image = np.full((480, 640, 3), 90, np.uint8)
    drawn = draw_lines(image, ("29.9 fps", "LIVE"))
    assert (image == 90).all()
    changed = (drawn != 90).any(2)
    assert changed[:60, :200].sum() > 200
    assert not changed[100:].any()
    assert draw_lines(image, ()) is image


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if shutil.which("Xvfb") is None:
        pytest.skip("needs Xvfb, a display without a screen")
    reader, writer = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", "800x600x24"],
        pass_fds=(writer,),
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    with os.fdopen(reader) as numbers:
        monkeypatch.setenv("DISPLAY", f":{numbers.readline().strip()}")
    yield
    server.terminate()
    server.wait(10)


@pytest.mark.usefixtures("display")
def test_windows_show_output_and_private_preview() -> None:
    # In a process of its own: Qt keeps its display for good.
    script = """
        import cv2, numpy as np
        from config.schema import OutputSettings
        from realtime.frame import Frame
        from realtime.sinks import open_sink
        from realtime.window import Window
        window = open_sink("window", OutputSettings())
        shown = []
        imshow = cv2.imshow
        cv2.imshow = lambda title, bgr: (shown.append((title, bgr.copy())), imshow(title, bgr))
        orange = np.full((480, 640, 3), (250, 128, 0), np.uint8)
        window.send(Frame(orange, 0.0, 0))
        assert shown[-1][0] == Window.OUTPUT, shown[-1][0]
        assert shown[-1][1][9, 9].tolist() == [0, 128, 250], "OpenCV's order is blue, green, red"
        window.info = ("30 fps",)
        window.send(Frame(orange, 0.1, 1))
        assert (shown[-1][1] != shown[0][1]).any() and (orange == (250, 128, 0)).all()
        assert "private" in Window.PREVIEW and "never sent" in Window.PREVIEW
        window.preview(np.zeros((256, 256, 3), np.uint8))
        assert shown[-1][0] == Window.PREVIEW and len(shown) == 3
        window.preview(np.zeros((512, 512, 3), np.uint8))
        assert shown[-1][1].shape == (256, 256, 3), "a window keeps the size it was opened with"
        assert window.pressed() == []
        assert not window.closed
        cv2.destroyWindow(Window.PREVIEW)  # as the user does
        assert window.closed
        window.preview(np.zeros((256, 256, 3), np.uint8))
        assert window.closed, "a closed window stays closed"
        window.close()
        window.close()
        print("seen")
    """
    seen = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT, timeout=60, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert seen.stdout.strip() == "seen", seen.stderr


@pytest.mark.usefixtures("display")
def test_qt_gets_every_event_of_the_display(tmp_path: Path) -> None:
    # Else a window may miss that it is there, and is never painted: one in three on a busy
    # machine. Whether it happens is chance; whom Qt asks for its events is none.
    if find_library("X11-xcb") is None:
        pytest.skip("needs libX11-xcb")
    script = """
        import numpy as np
        from realtime.window import Window
        Window().preview(np.zeros((256, 256, 3), np.uint8))
    """
    linker = {"LD_DEBUG": "bindings", "LD_DEBUG_OUTPUT": str(tmp_path / "of")}
    program = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, env=os.environ | linker
    )
    assert program.wait(60) == 0
    said = tmp_path / f"of.{program.pid}"
    asked = re.compile(r"binding file \S*Qt5Xcb\S* \[0\] to (\S+) .*`XSetEventQueueOwner'")
    answers = asked.findall(said.read_text("utf-8", "replace")) if said.exists() else []
    if not answers:
        pytest.skip("no windows by Qt, or another linker than that of GNU")
    assert [Path(one).name for one in answers] == ["libX11-xcb.so.1"]


def test_without_the_library_of_the_desktop_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(name: str, mode: int) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(module.ctypes, "CDLL", missing)
    module._give_events_to_qt()
    assert "may stay blank" in caplog.text
    assert "install libx11-xcb1" in caplog.text


def test_keys_without_a_character_are_no_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    # As OpenCV's Qt and GTK windows give them: up (its low byte is an R), shift, F1; A; ESC;
    # and an X with num lock on.
    waiting = iter([0xFF52, 0xFFE1, 0xFFBE, 0x61, 0x1B, 0x100058, -1])
    monkeypatch.setattr(cv2, "pollKey", lambda: next(waiting, -1))
    monkeypatch.setattr(module, "_check_display", lambda: None)
    window = Window()
    assert window.pressed() == [ord("a"), 27, ord("X")]
    assert window.pressed() == []

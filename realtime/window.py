"""The output in a window, and in a second one the driver's private view."""

import ctypes
import logging
import os
import subprocess
import sys
from collections import deque
from collections.abc import Sequence

import cv2

from config.errors import SinkError
from realtime.frame import Frame, Image

_log = logging.getLogger(__name__)


class Window:
    """The output in a window, and in a second one, for the driver's eyes only, the camera's view.

    Keys work while one of the two has the focus. To be used by the main thread (macOS insists).
    """

    OUTPUT = "puppetcam: output"
    PREVIEW = "puppetcam: your camera (private, never sent)"

    def __init__(self) -> None:
        """Opens the output window. Raises SinkError where there is no display."""
        _check_display()
        self.name = "window"
        self.repeat_fps: float | None = None
        self.info: Sequence[str] = ()
        """Lines drawn over the output, in this window only."""
        self._keys: deque[int] = deque(maxlen=32)
        self._shown: dict[str, tuple[int, int]] = {}

    def send(self, frame: Frame) -> None:
        """Show the output."""
        self._show(self.OUTPUT, draw_lines(frame.image, self.info))
        self._pump()

    def preview(self, image: Image, lines: Sequence[str] = ()) -> None:
        """Show the driver's private view, (h, w, 3) uint8 RGB, with text over it; it appears with
        the next ``send`` or ``pressed``."""
        self._show(self.PREVIEW, draw_lines(image, lines))

    def pressed(self) -> list[int]:
        """Keys pressed since the last call, as character codes; keeps the windows alive."""
        self._pump()
        keys = list(self._keys)
        self._keys.clear()
        return keys

    @property
    def closed(self) -> bool:
        """True once the user closed one of the windows."""
        return not all(_visible(title) for title in self._shown)

    def close(self) -> None:
        """Take both windows away; twice is fine."""
        for title in self._shown:
            if _visible(title):
                cv2.destroyWindow(title)
        self._shown.clear()

    def _show(self, title: str, image: Image) -> None:
        if title not in self._shown:
            cv2.namedWindow(title, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
            self._shown[title] = image.shape[1], image.shape[0]
        elif not _visible(title):
            return  # closed by the user: imshow would open it again
        # A window as large as its first picture: it does not jump.
        shown = cv2.resize(image, self._shown[title], interpolation=cv2.INTER_AREA)
        cv2.imshow(title, cv2.cvtColor(shown, cv2.COLOR_RGB2BGR))

    def _pump(self) -> None:
        while (key := cv2.pollKey()) >= 0:
            # Higher bits: 0xFF00 marks keys without a character (the low byte of "up" is an R),
            # those above are states such as num lock.
            if not key & 0xFF00:
                self._keys.append(key & 0xFF)


def _visible(title: str) -> bool:
    try:
        return cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error:  # Qt, once its last window is gone
        return False


def _check_display() -> None:
    """Where no display answers, OpenCV's windows abort the process: look first, in a child."""
    if not sys.platform.startswith("linux"):
        return
    if not os.environ.get("DISPLAY"):
        found = "only Wayland (start XWayland)" if os.environ.get("WAYLAND_DISPLAY") else "none"
        raise SinkError(
            f"window needs a display, found {found}; start puppetcam from a desktop session, "
            "or use virtualcam or file:NAME.mp4"
        )
    trial = "import cv2; cv2.namedWindow('puppetcam'); cv2.waitKey(1)"
    try:
        subprocess.run(
            [sys.executable, "-c", trial], capture_output=True, text=True, timeout=30, check=True
        )
    except subprocess.SubprocessError as error:
        advice = "check that it is this desktop's and that this user may draw on it"
        if "not implemented" in str(getattr(error, "stderr", "")):
            advice = "this OpenCV has no windows: uninstall opencv-python-headless"
        raise SinkError(
            f"no window can be opened on DISPLAY={os.environ['DISPLAY']}; {advice}"
        ) from error
    _give_events_to_qt()


def _give_events_to_qt() -> None:
    """Let no event of the display be lost: to be called before the first window.

    OpenCV's wheels bring a libX11-xcb of their own beside the desktop's libX11. By it Qt asks that
    all events be its own, and where the two are of different releases the word is written to the
    wrong place: libX11 goes on taking events, whenever Qt has it send what waits. On a busy machine
    every third window so misses that it is there, and is never painted. The desktop's own library,
    known to all before Qt is loaded, answers in the other's place.
    """
    try:
        ctypes.CDLL("libX11-xcb.so.1", mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        _log.warning(
            "windows may stay blank while the machine is busy: %s; install libx11-xcb1", error
        )


def draw_lines(image: Image, lines: Sequence[str]) -> Image:
    """``image`` with white, dark-edged text at the top left; itself when there is no line."""
    if not lines:
        return image
    drawn = image.copy()
    scale = max(0.35, min(image.shape[:2]) / 900)
    for row, line in enumerate(lines, start=1):
        place = (round(12 * scale), round(36 * scale * row))
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(
                drawn, line, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA
            )
    return drawn

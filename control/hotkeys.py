"""Global hotkeys: the keys of ``control.actions.KEYS`` with modifiers held, whatever has the focus.

On Linux with X11 just these combinations are asked for, and no other key is seen; elsewhere the
package pynput listens, which sees all keys and keeps none. Wayland lets no program do either.
"""

import logging
import os
import select
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from config.errors import ControlError, MissingPackageError, PuppetcamError
from config.schema import HotkeySettings
from control.actions import KEYS, Actions

_log = logging.getLogger(__name__)

EXTRA = 'in the folder of puppetcam: pip install ".[hotkeys]"'


class Hotkeys:
    """Global hotkeys of a run, in a thread of their own."""

    def __init__(self, actions: Actions, settings: HotkeySettings) -> None:
        """Raises MissingPackageError without the package for this system, ControlError where the
        desktop allows none."""
        self._actions = actions
        modifiers = settings.modifiers.split("+")
        if sys.platform.startswith("linux"):
            check_desktop(os.environ)
            self._listener: Any = _X11(modifiers, self._press)
        else:
            self._listener = _listen(modifiers, self._press)

    def close(self) -> None:
        """Give the keys back; twice is fine."""
        self._listener.stop()

    def __enter__(self) -> "Hotkeys":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _press(self, key: str) -> None:
        try:
            self._actions.do(*KEYS[key])
        except PuppetcamError as error:  # e.g. 9 of 4 avatars
            _log.warning("%s", error)


def check_desktop(environment: "os._Environ[str] | dict[str, str]") -> None:
    """Raises ControlError where no hotkeys can be had on Linux."""
    advice = "bind commands such as 'puppetcam ctl panic' in the keyboard settings of the desktop"
    if environment.get("XDG_SESSION_TYPE") == "wayland" or environment.get("WAYLAND_DISPLAY"):
        raise ControlError(
            f"global hotkeys: Wayland shows a program no keys but its own; {advice} instead"
        )
    if not environment.get("DISPLAY"):
        raise ControlError(f"global hotkeys need a desktop, found none; {advice}")


class _X11:
    """Asks the X server for the combinations (``XGrabKey``)."""

    def __init__(self, modifiers: list[str], press: Callable[[str], None]) -> None:
        try:
            from Xlib import XK, X, display, error
        except ImportError as missing:
            raise MissingPackageError(f"global hotkeys need python-xlib; {EXTRA}") from missing
        masks = {"ctrl": X.ControlMask, "alt": X.Mod1Mask, "shift": X.ShiftMask, "cmd": X.Mod4Mask}
        try:
            self._display = display.Display()
        except (error.DisplayError, OSError) as failed:
            raise ControlError(f"global hotkeys: no X server answers: {failed}") from failed
        self._root = self._display.screen().root
        self._key_press, self._key_release = X.KeyPress, X.KeyRelease
        self._gone = (error.ConnectionClosedError, OSError)
        self._press = press
        self._stopped = threading.Event()
        mask = sum(masks[one] for one in modifiers)
        self._keys: dict[int, str] = {}
        taken = []
        for key in KEYS:
            code = self._display.keysym_to_keycode(XK.string_to_keysym(key))
            if not code:
                continue
            refused = error.CatchError(error.BadAccess)
            # Caps lock and num lock count as modifiers: each combination with them is another.
            for locks in (0, X.LockMask, X.Mod2Mask, X.LockMask | X.Mod2Mask):
                self._root.grab_key(
                    code, mask | locks, False, X.GrabModeAsync, X.GrabModeAsync, onerror=refused
                )
            self._display.sync()
            if refused.get_error():
                taken.append(key.upper())
            self._keys[code] = key
        if taken:
            _log.warning(
                "another program has these hotkeys: %s with %s",
                "+".join(modifiers),
                " ".join(taken),
            )
        self._thread = threading.Thread(target=self._listen, name="hotkeys", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if not self._stopped.is_set():
            self._stopped.set()
            self._thread.join(3)
            self._display.close()

    def _listen(self) -> None:
        released_ms: dict[int, int] = {}
        try:
            while not self._stopped.is_set():
                if not self._display.pending_events():
                    select.select([self._display.fileno()], [], [], 0.1)
                    continue
                event = self._display.next_event()
                if event.type == self._key_release:
                    released_ms[event.detail] = event.time
                # A key that is held repeats itself: released and pressed in the same moment.
                elif event.type == self._key_press and released_ms.get(event.detail) != event.time:
                    self._press(self._keys[event.detail])
        except self._gone as error:
            _log.warning("global hotkeys are gone with the desktop: %s", error)


def _listen(modifiers: list[str], press: Callable[[str], None]) -> Any:
    """Windows and macOS: a running ``pynput.keyboard.GlobalHotKeys``."""
    try:
        from pynput import keyboard
    except ImportError as missing:
        raise MissingPackageError(f"global hotkeys need pynput; {EXTRA}") from missing
    held = "+".join(f"<{one}>" for one in modifiers)
    listener = keyboard.GlobalHotKeys({f"{held}+{key}": partial(press, key) for key in KEYS})
    listener.start()
    if getattr(listener, "IS_TRUSTED", True) is False:
        _log.warning(
            "macOS gives this program no keys: allow the terminal under System Settings, "
            "Privacy & Security, Accessibility and Input Monitoring, and start again"
        )
    return listener

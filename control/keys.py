"""The keys of the live window: the actions of ``control.actions.KEYS``, and what changes the view
alone.

There is no key that sends the camera's own picture.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from config.errors import PuppetcamError
from control.actions import KEYS, Actions
from realtime.frame import Image
from realtime.metrics import Metrics
from realtime.puppeteer import Step
from realtime.window import Window

_INFO_EVERY_S = 0.5
_ESCAPE = 27

HELP = (
    "1-9 avatar  A/D previous, next  X recentre  W/S zoom  P panic  F mirror camera  "
    "T mirror output  R mirror preview  O landmarks  I info  ESC quit"
)
"""All keys, one line for the terminal."""


@dataclass(slots=True)
class View:
    """What the user has switched on in the windows. The output knows nothing of it."""

    info: bool = False
    overlay: bool = False
    mirror_preview: bool = False


class Keys:
    """Connects a window with the actions: ``run(until=keys.poll, watch=keys.show)``."""

    def __init__(self, actions: Actions, window: Window) -> None:
        self._actions = actions
        self._window = window
        self.view = View()
        self._note = ""
        self._info_at: float | None = None

    def poll(self) -> bool:
        """Act on the keys pressed since the last call; True: the user wants to end."""
        for key in self._window.pressed():
            self._press(key)
        return self._actions.ended or self._window.closed

    def _press(self, key: int) -> None:
        """``key``: character code, capital or small. Those without a meaning do nothing."""
        letter, view = chr(key).lower(), self.view
        self._note = ""
        if key == _ESCAPE:
            self._actions.do("quit")
        elif letter in KEYS:
            try:
                self._actions.do(*KEYS[letter])
            except PuppetcamError as error:  # e.g. 9 of 4 avatars
                self._note = str(error)
        elif letter == "r":
            view.mirror_preview = not view.mirror_preview
        elif letter == "o":
            view.overlay = not view.overlay
        elif letter == "i":
            view.info = not view.info
            self._info_at = None
            self._window.info = ()

    def show(self, step: Step) -> None:
        """Bring the private preview and the info lines up to this step."""
        now = step.frame.captured_at
        if self.view.info and (self._info_at is None or now - self._info_at >= _INFO_EVERY_S):
            self._info_at = now
            name = self._actions.avatar.name
            self._window.info = info_lines(step, self._actions.metrics, name)
        lines = (step.status.value, self._note) if self._note else (step.status.value,)
        self._window.preview(preview_image(step, self.view), lines)


def info_lines(step: Step, metrics: Metrics, avatar: str) -> tuple[str, ...]:
    """What key I shows: rate, frame age, where the time goes, by how much to delay the sound."""
    fps, age_s = metrics.recent()
    stages = "  ".join(f"{name} {1000 * s:.0f}" for name, s in step.stages.items())
    first = f"{fps:.1f} fps  age {1000 * age_s:.0f} ms  {step.status.value}"
    last = f"avatar: {avatar}"
    if age_s:
        last += f"  sound offset: {1000 * age_s:.0f} ms"
    return (first, f"{stages} ms", last) if stages else (first, last)


def preview_image(step: Step, view: View) -> Image:
    """What the driver sees of himself, (S, S, 3) uint8 RGB; black without a camera picture."""
    image = step.driving
    if image is None:
        side = min(step.result.shape[:2])
        return np.zeros((side, side, 3), np.uint8)
    if view.overlay and step.landmarks is not None:
        image = np.asarray(image // 2)  # dimmed: the points are to be seen
        side = image.shape[0]
        for x, y in (step.landmarks + 1) * ((side - 1) / 2):
            centre = (round(float(x)), round(float(y)))
            cv2.circle(image, centre, max(1, side // 128), (80, 255, 120), -1, cv2.LINE_AA)
    if view.mirror_preview:
        image = np.asarray(cv2.flip(image, 1), np.uint8)
    return image

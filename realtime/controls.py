"""The keys of the live window, and what they do.

The keys are those that users of live puppets know: 1-9, A/D, W/S, X, I, R, T, O, ESC; and P, panic,
and F, mirrored input. There is no key that sends the camera's own picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

import cv2
import numpy as np

from config.schema import Settings
from realtime.avatar import Avatar
from realtime.frame import Image
from realtime.metrics import Metrics
from realtime.pipeline import Pipeline
from realtime.puppeteer import Step
from realtime.window import Window

ZOOM_STEP = 1.05
"""Change of the driving crop by one press of W or S."""
_INFO_EVERY_S = 0.5
_ESCAPE = 27

HELP = (
    "1-9 avatar  A/D previous, next  X recentre  W/S zoom  P panic  F mirror camera  "
    "T mirror output  R mirror preview  O landmarks  I info  ESC quit"
)
"""All keys, one line for the terminal."""


class Action(Enum):
    """What a key asks for."""

    AVATAR = auto()
    PREVIOUS_AVATAR = auto()
    NEXT_AVATAR = auto()
    RECENTRE = auto()
    ZOOM_IN = auto()
    ZOOM_OUT = auto()
    PANIC = auto()
    INFO = auto()
    OVERLAY = auto()
    MIRROR_INPUT = auto()
    MIRROR_OUTPUT = auto()
    MIRROR_PREVIEW = auto()
    QUIT = auto()


_LETTERS = {
    "a": Action.PREVIOUS_AVATAR,
    "d": Action.NEXT_AVATAR,
    "x": Action.RECENTRE,
    "w": Action.ZOOM_IN,
    "s": Action.ZOOM_OUT,
    "p": Action.PANIC,
    "i": Action.INFO,
    "o": Action.OVERLAY,
    "f": Action.MIRROR_INPUT,
    "t": Action.MIRROR_OUTPUT,
    "r": Action.MIRROR_PREVIEW,
}


def action_of(key: int) -> tuple[Action, int] | None:
    """What a key (its character code, capital or small) means, with the number of the avatar, from
    0, for 1-9 (0 for all else); None for keys without a meaning."""
    if key == _ESCAPE:
        return Action.QUIT, 0
    letter = chr(key).lower()
    if letter in _LETTERS:
        return _LETTERS[letter], 0
    if letter in "123456789":
        return Action.AVATAR, int(letter) - 1
    return None


@dataclass(slots=True)
class View:
    """What the user has switched on. ``mirror_preview`` and ``overlay`` change the preview only."""

    avatar: int = 0
    panic: bool = False
    info: bool = False
    overlay: bool = False
    mirror_input: bool = False
    mirror_output: bool = False
    mirror_preview: bool = False


class Controls:
    """Connects a window with a pipeline: ``run(until=controls.poll, watch=controls.show)``."""

    def __init__(
        self, pipeline: Pipeline, window: Window, avatars: Sequence[Avatar], settings: Settings
    ) -> None:
        """``avatars``: those of the keys; the first one is shown at start."""
        self._pipeline = pipeline
        self._window = window
        self._avatars = tuple(avatars)
        self.view = View(mirror_input=settings.camera.mirror, mirror_output=settings.output.mirror)
        self._quit = False
        self._info_at: float | None = None

    def poll(self) -> bool:
        """Act on the keys pressed since the last call; True: the user wants to end."""
        for key in self._window.pressed():
            found = action_of(key)
            if found is not None:
                self.act(*found)
        return self._quit or self._window.closed

    def act(self, action: Action, number: int = 0) -> None:
        """Do it; ``number``: of the avatar, for ``Action.AVATAR``, the last one if too large."""
        view, post = self.view, self._pipeline.post
        match action:
            case Action.AVATAR:
                self._show_avatar(min(number, len(self._avatars) - 1))
            case Action.PREVIOUS_AVATAR:
                self._show_avatar((view.avatar - 1) % len(self._avatars))
            case Action.NEXT_AVATAR:
                self._show_avatar((view.avatar + 1) % len(self._avatars))
            case Action.RECENTRE:
                post(lambda puppeteer: puppeteer.recentre())
            case Action.ZOOM_IN:
                post(lambda puppeteer: puppeteer.zoom(1 / ZOOM_STEP))
            case Action.ZOOM_OUT:
                post(lambda puppeteer: puppeteer.zoom(ZOOM_STEP))
            case Action.PANIC:
                panic = view.panic = not view.panic
                post(lambda puppeteer: puppeteer.panic(panic))
            case Action.MIRROR_INPUT:
                mirror_input = view.mirror_input = not view.mirror_input
                post(lambda puppeteer: puppeteer.mirror_input(mirror_input))
            case Action.MIRROR_OUTPUT:
                mirror_output = view.mirror_output = not view.mirror_output
                post(lambda puppeteer: puppeteer.mirror_output(mirror_output))
            case Action.MIRROR_PREVIEW:
                view.mirror_preview = not view.mirror_preview
            case Action.OVERLAY:
                view.overlay = not view.overlay
            case Action.INFO:
                view.info = not view.info
                self._info_at = None
                self._window.info = ()
            case Action.QUIT:
                self._quit = True

    def show(self, step: Step) -> None:
        """Bring the private preview and the info lines up to this step."""
        now = step.frame.captured_at
        if self.view.info and (self._info_at is None or now - self._info_at >= _INFO_EVERY_S):
            self._info_at = now
            name = self._avatars[self.view.avatar].name
            self._window.info = info_lines(step, self._pipeline.metrics, name)
        self._window.preview(preview_image(step, self.view), (step.status.value,))

    def _show_avatar(self, number: int) -> None:
        if number != self.view.avatar:
            self.view.avatar = number
            avatar = self._avatars[number]
            self._pipeline.post(lambda puppeteer: puppeteer.set_avatar(avatar))


def info_lines(step: Step, metrics: Metrics, avatar: str) -> tuple[str, ...]:
    """What key I shows: rate, frame age, where the time goes."""
    fps, age_s = metrics.recent()
    stages = "  ".join(f"{name} {1000 * s:.0f}" for name, s in step.stages.items())
    first = f"{fps:.1f} fps  age {1000 * age_s:.0f} ms  {step.status.value}"
    last = f"avatar: {avatar}"
    return (first, f"{stages} ms", last) if stages else (first, last)


def preview_image(step: Step, view: View) -> Image:
    """What the driver sees of himself, (S, S, 3) uint8 RGB; black without a camera picture."""
    if step.driving is None:
        return np.zeros_like(step.result)
    image = step.driving
    if view.overlay and step.landmarks is not None:
        image = np.asarray(image // 2)  # dimmed: the points are to be seen
        side = image.shape[0]
        for x, y in (step.landmarks + 1) * ((side - 1) / 2):
            centre = (round(float(x)), round(float(y)))
            cv2.circle(image, centre, max(1, side // 128), (80, 255, 120), -1, cv2.LINE_AA)
    if view.mirror_preview:
        image = np.asarray(cv2.flip(image, 1), np.uint8)
    return image

"""Everything that can be asked of a run, in one place: the keys of the window, global hotkeys, the
API and ``puppetcam ctl`` all ask here.

Any thread may ask. What concerns the puppeteer is posted to the pipeline and done between two
frames; what takes time (reading a picture, finding its face) is done before, in the asking thread.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.errors import ActionError, ConsentError
from config.load import build, with_overrides
from config.schema import ZOOM_RANGE, Settings
from control.settings import check_background, check_live, laid_over, values_of
from provenance.consent import ANSWERS

if TYPE_CHECKING:  # the command line reads the table below and starts without numpy
    from realtime.avatar import Avatar
    from realtime.face import Tracker
    from realtime.frame import Frame
    from realtime.metrics import Metrics
    from realtime.puppeteer import Puppeteer, Step

_log = logging.getLogger(__name__)

ZOOM_STEP = 1.05
"""Change of the driving crop by one "zoom in" or "zoom out"."""
MOST_AVATARS = 100
"""Avatars that a run holds; each loaded one takes about a megabyte."""


SWITCH = "[on|off]"
"""What a switch takes; it toggles without a value."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to ask for."""

    value: str
    """What it takes: "" nothing, ``SWITCH``, else a value that must be given."""
    help: str


ACTIONS: Mapping[str, Action] = {
    "avatar": Action("NUMBER|NAME", "show an avatar, by number from 1 or by name"),
    "next": Action("", "show the next avatar"),
    "previous": Action("", "show the avatar before"),
    "load": Action(
        "[WHOSE:]PICTURE",
        "read a picture file and show it; the first time it must be said whose face it is: "
        + ", ".join(f"{answer}:" for answer in ANSWERS),
    ),
    "recentre": Action("", "take the driver's face of the next seconds as the neutral one"),
    "panic": Action(SWITCH, "show a card instead of the avatar"),
    "mirror-output": Action(SWITCH, "flip the output left-right; the label stays readable"),
    "mirror-camera": Action(SWITCH, "flip the camera left-right; recentres"),
    "zoom": Action("in|out|NUMBER", "size of the driving crop, 0.5 to 2; in makes it smaller"),
    "set": Action("GROUP.KEY=VALUE", "change a setting, e.g. label.position=top-left"),
    "quit": Action("", "end the run"),
}

KEYS: Mapping[str, tuple[str, str | None]] = {
    "a": ("previous", None),
    "d": ("next", None),
    "x": ("recentre", None),
    "w": ("zoom", "in"),
    "s": ("zoom", "out"),
    "p": ("panic", None),
    "f": ("mirror-camera", None),
    "t": ("mirror-output", None),
    **{str(number): ("avatar", str(number)) for number in range(1, 10)},
}
"""Key -> action and its value: in the window alone, elsewhere with the hotkeys' modifiers."""


class Actions:
    """What is asked of one run, and how it stands. Any thread may call it."""

    def __init__(
        self,
        post: "Callable[[Callable[[Puppeteer], object]], None]",
        metrics: "Metrics",
        avatars: "Sequence[Avatar]",
        settings: Settings,
        prepare: "Callable[[Avatar], None]",
        open_finder: "Callable[[], Tracker]",
        avatar_size: int,
        shown: int = 0,
    ) -> None:
        """``post``: of the pipeline. ``settings``: those of the puppeteer. ``prepare``: the
        puppeteer's, called in threads of this class. ``open_finder``: a tracker of its own for
        pictures that are loaded while the puppeteer's is at work; called once, when first needed.
        ``avatar_size``: pixels. ``shown``: the avatar of the first picture, from 0."""
        self.metrics = metrics
        self._post = post
        self._avatars = list(avatars)
        self._number = shown
        self._showing = _done()
        self._settings = settings
        self._panic = False
        self._state = threading.RLock()
        self._prepare = prepare
        self._bringing = threading.Lock()
        self._open_finder = open_finder
        self._finder: Tracker | None = None
        self._finding = threading.Lock()
        self._avatar_size = avatar_size
        self._step: Step | None = None
        self._ended = threading.Event()

    @property
    def ended(self) -> bool:
        """True once somebody asked for the end."""
        return self._ended.is_set()

    @property
    def settings(self) -> Settings:
        """As asked for; the puppeteer has them by its next frame."""
        return self._settings

    @property
    def avatar(self) -> "Avatar":
        """The one asked for."""
        return self._avatars[self._number]

    @property
    def avatars(self) -> "tuple[Avatar, ...]":
        """All that can be shown, in the order of their numbers."""
        return tuple(self._avatars)

    def see(self, step: "Step") -> None:
        """The newest step that went to the sinks."""
        self._step = step

    def do(self, name: str, value: str | None = None) -> "Future[None]":
        """Ask for the action ``name`` of ``ACTIONS``. The future is done when the next frame shows
        it, or has the error. Raises ActionError, AvatarError, SettingsError for what cannot be
        asked."""
        action = ACTIONS.get(name)
        if action is None:
            raise ActionError(f"there is no action '{name[:40]}'; there are {', '.join(ACTIONS)}")
        value = value.strip() if value else None
        if value and not action.value:
            raise ActionError(f"{name} takes no value, found '{value[:40]}'")
        if not value and action.value and action.value != SWITCH:
            raise ActionError(f"{name} needs a value: {name} {action.value}")
        text = value or ""
        if name == "load":
            return self._load(text)
        if name == "quit":
            self._ended.set()
            return _done()
        if name == "set":
            return self._change(lambda values: with_overrides(values, [text]))
        with self._state:
            match name:
                case "avatar":
                    return self._show(self._find(text))
                case "next":
                    return self._show((self._number + 1) % len(self._avatars))
                case "previous":
                    return self._show((self._number - 1) % len(self._avatars))
                case "recentre":
                    return self._ask(lambda puppeteer: puppeteer.recentre())
                case "panic":
                    on = self._panic = _switched(name, value, self._panic)
                    return self._ask(lambda puppeteer: puppeteer.panic(on))
                case "mirror-output":
                    output = self._settings.output
                    output = replace(output, mirror=_switched(name, value, output.mirror))
                    return self._use(replace(self._settings, output=output))
                case "mirror-camera":
                    camera = self._settings.camera
                    camera = replace(camera, mirror=_switched(name, value, camera.mirror))
                    return self._use(replace(self._settings, camera=camera))
                case _:  # zoom
                    zoom = _zoomed(self._settings.tracking.zoom, text)
                    tracking = replace(self._settings.tracking, zoom=zoom)
                    return self._use(replace(self._settings, tracking=tracking))

    def change(self, changes: Mapping[str, Any]) -> "Future[None]":
        """Change settings, all or none: {"label.size": 0.1} or {"label": {"size": 0.1}}. Raises
        SettingsError, and NeedsRestartError for one that does not change
        live."""
        return self._change(lambda values: laid_over(values, changes))

    def status(self) -> dict[str, Any]:
        """How the run stands, plain values for JSON."""
        step, settings = self._step, self._settings
        fps, age_s = self.metrics.recent()
        with self._state:
            names = [avatar.name for avatar in self._avatars]
            number = self._number
        return {
            "status": step.status.value if step else "starting",
            "avatar": {"number": number + 1, "name": names[number]},
            "avatars": names,
            "panic": self._panic,
            "mirror_output": settings.output.mirror,
            "mirror_camera": settings.camera.mirror,
            "zoom": round(settings.tracking.zoom, 4),
            "label": settings.label.text if settings.label.enabled else None,
            "fps": round(fps, 2),
            "frame_age_ms": round(1000 * age_s, 1),
            "frame": step.frame.index if step else None,
        }

    def snapshot(self) -> "Frame | None":
        """The newest frame that went out, marks and all; None before the first. There is no way to
        the camera's picture."""
        step = self._step
        return step.frame if step else None

    def _find(self, text: str) -> int:
        """Index of the avatar with this number, from 1, else of this name. Raises ActionError."""
        if text.isdecimal() and len(text) < 6 and 1 <= int(text) <= len(self._avatars):
            return int(text) - 1
        for number, avatar in enumerate(self._avatars):
            if avatar.name == text:
                return number
        known = ", ".join(f"{n} {one.name}" for n, one in enumerate(self._avatars[:9], start=1))
        raise ActionError(f"there is no avatar '{text[:80]}'; there are {known}")

    def _load(self, text: str) -> "Future[None]":
        from realtime.avatar import load_avatar, with_consent

        said = next((one for one in ANSWERS if text.startswith(f"{one}:")), None)
        path = Path(text.removeprefix(f"{said}:"))
        with self._finding:  # one at a time: a tracker is not thread-safe
            if self._finder is None:
                self._finder = self._open_finder()
            avatar = load_avatar(path, self._finder, self._avatar_size)
        if said is not None:
            avatar = with_consent(avatar, said, date.today())
        if avatar.consent is None:
            raise ConsentError(
                f"nobody has said yet whose face {path} shows; say it once: load own:{path}, or "
                f"{', '.join(f'{one}:' for one in ANSWERS[1:])}"
            )
        with self._state:
            for number, known in enumerate(self._avatars):
                if known.path == avatar.path:  # the same file, read anew
                    self._avatars[number] = avatar
                    return self._show(number, again=True)
            if len(self._avatars) >= MOST_AVATARS:
                raise ActionError(f"{MOST_AVATARS} avatars are loaded; more are not held")
            self._avatars.append(avatar)
            return self._show(len(self._avatars) - 1)

    def _show(self, number: int, again: bool = False) -> "Future[None]":
        if number == self._number and not again:  # not encoded again
            return self._showing
        self._number, avatar = number, self._avatars[number]
        answer: Future[None] = Future()
        self._showing = answer
        # Not in the asking thread, which may be the one that delivers the pictures. No daemon:
        # native code that still runs in one aborts the process at its exit.
        threading.Thread(target=self._bring, args=(avatar, answer), name="avatar").start()
        return answer

    def _bring(self, avatar: "Avatar", answer: "Future[None]") -> None:
        """Prepare the avatar, which takes longer than a frame, then have it shown; neither once
        another one was asked for."""

        failed: Exception | None = None

        def show(puppeteer: "Puppeteer") -> None:
            try:
                if failed is not None:
                    raise failed
                puppeteer.set_avatar(avatar)
            except Exception:
                with self._state:
                    shown = [n for n, one in enumerate(self._avatars) if one is puppeteer.avatar]
                    if self._showing is answer and shown:
                        self._number = shown[0]
                raise

        with self._bringing:
            if self._showing is answer:
                try:
                    self._prepare(avatar)
                except Exception as error:  # noqa: BLE001 - the asker's to hear; the run goes on
                    failed = error
            if self._showing is answer:
                self._ask(show, answer)
            else:
                answer.set_result(None)

    def _change(self, lay: Callable[[dict[str, Any]], Mapping[str, Any]]) -> "Future[None]":
        """``lay`` puts the changes into the values of all settings."""
        check_background(self._settings, build(Settings, lay(values_of(self._settings))))
        with self._state:
            settings = build(Settings, lay(values_of(self._settings)))
            check_live(self._settings, settings)
            return self._use(settings)

    def _use(self, settings: Settings) -> "Future[None]":
        if self._settings.label.enabled and not settings.label.enabled:
            _log.warning("%s", settings.label.notice)
        self._settings = settings

        def use(puppeteer: "Puppeteer") -> None:
            puppeteer.settings = settings

        return self._ask(use)

    def _ask(
        self, action: "Callable[[Puppeteer], object]", answer: "Future[None] | None" = None
    ) -> "Future[None]":
        answer = answer or Future()

        def run(puppeteer: "Puppeteer") -> None:
            try:
                action(puppeteer)
            except Exception as error:  # noqa: BLE001 - the asker's to hear; the run goes on
                _log.warning("not done: %s", error)
                answer.set_exception(error)
            else:
                answer.set_result(None)

        self._post(run)
        return answer


def _switched(name: str, value: str | None, before: bool) -> bool:
    if value is None:
        return not before
    if value.lower() not in ("on", "off"):
        raise ActionError(f"{name} takes on, off or nothing (toggles), found '{value[:40]}'")
    return value.lower() == "on"


def _zoomed(before: float, text: str) -> float:
    low, high = ZOOM_RANGE
    if text in ("in", "out"):
        factor = 1 / ZOOM_STEP if text == "in" else ZOOM_STEP
        return min(max(before * factor, low), high)
    try:
        zoom = float(text)
    except ValueError:
        zoom = 0.0
    if not low <= zoom <= high:
        raise ActionError(f"zoom takes in, out or a number from {low} to {high}, found '{text}'")
    return zoom


def _done() -> "Future[None]":
    answer: Future[None] = Future()
    answer.set_result(None)
    return answer

"""The built-in performer: a drawn face that acts before a drawn camera, its truth known.

Looks, lights and motion are our own drawing; no picture of a person is involved. It does not
imitate a camera's noise, rolling shutter or blur by motion.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from drawing.appearance import Appearance, random_appearance
from drawing.moment import Moment
from drawing.sitter import Sitter, Truth, View
from drawing.texture import backdrop
from realtime.frame import Frame, Image

__all__ = [
    "Appearance", "Guest", "Moment", "Motion", "Performer", "Truth", "away", "draw", "perform",
    "random_appearance", "script", "visit",
]  # fmt: skip

Motion = Callable[[float], Moment]
"""Seconds -> pose and expression."""

Guest = tuple[Appearance, Motion]
"""Somebody else in the picture, behind the performer."""

LOOP_S = 24.0
"""Seconds after which the script starts again."""
NEUTRAL_S = 2.0
"""Seconds at the script's start in which the face looks ahead, eyes open, mouth closed."""

# Seconds, value: what the script does, eased from key to key.
_YAW = ((2, 0), (3.2, 6), (4.6, -5), (6, 3), (7.2, 0), (8.4, 25), (9.6, 25), (11.2, -25),
        (12.4, -24), (13.6, 0), (16, 9), (18, -10), (20, 4), (22, 0))  # fmt: skip
_PITCH = ((2, 0), (3, -3), (4.4, 2), (6.4, -2), (8, 0), (10.4, 3), (13.4, 0), (14.4, 15),
          (15.4, -15), (16.6, 0), (19, -4), (21, 0))  # fmt: skip
_ROLL = ((2, 0), (4, 3), (5.6, -3), (8, 0), (9.8, 4), (12, -3), (16.4, 0), (17.4, 15), (18.8, -15),
         (20.2, 0))  # fmt: skip
_X = ((2, 0), (5, 0.03), (8, -0.02), (10, 0.04), (12.4, -0.04), (15, 0), (18, 0.03), (22, 0))
_Y = ((2, 0), (6, 0.012), (10, -0.01), (14.5, 0.015), (19, -0.012), (22.5, 0))
_ZOOM = ((2, 1), (6, 1.04), (10, 0.98), (17, 1), (20.4, 1.18), (21.6, 1.18), (23.4, 1))
_SMILE = ((2, 0), (4, 0.15), (5.6, 0), (6.8, 0.1), (7.6, 0.9), (8.6, 0.9), (9.4, 0.2), (13, 0.1),
          (19.6, 0.1), (20.6, 1), (22, 0.9), (23.2, 0))  # fmt: skip
_BROW = ((2, 0), (3, 0.5), (3.6, 0), (5, 0.1), (5.4, 0.7), (6, 0), (9.6, 0), (10.2, 0.9), (10.9, 0),
         (14, 0.4), (15.2, -0.5), (16.4, -0.5), (17, 0), (18.4, 0.6), (19.4, 0))  # fmt: skip
_GAZE_X = ((2.2, 0), (2.35, 0.3), (3.1, 0.3), (3.2, 0), (5.2, 0), (5.3, -0.55), (6.1, -0.55),
           (6.2, 0), (8, 0.6), (9.2, 0.6), (9.5, -0.4), (10.8, -0.8), (12.2, -0.5), (12.4, 0.1),
           (14, 0), (16.8, 0), (16.9, 0.9), (17.6, 0.9), (17.7, -0.9), (18.4, -0.9),
           (18.5, 0))  # fmt: skip
_GAZE_Y = ((5.2, 0), (5.3, 0.35), (6.1, 0.35), (6.2, 0), (13.8, 0), (14, -0.5), (14.8, -0.4),
           (15, 0.6), (15.8, 0.5), (16, 0), (22.2, 0), (22.3, -0.6), (22.8, -0.6),
           (22.9, 0))  # fmt: skip
_SPEECH = ((2.4, 4.6), (5.0, 7.2), (9.2, 13.2), (14.4, 16.6), (17.2, 19.6))
"""Start and end of each sentence."""
_BLINKS = ((2.9, 0.22), (4.9, 0.18), (6.3, 0.2), (9.0, 0.24), (11.0, 0.16), (11.32, 0.16),
           (13.5, 0.3), (16.0, 0.2), (18.45, 0.24), (21.0, 0.16), (21.34, 0.18),
           (22.6, 0.26))  # fmt: skip
"""Middle and length of each blink; two are double."""
_SYLLABLE_S = 0.21


def script(t: float) -> Moment:
    """The performance at ``t`` seconds; it loops every ``LOOP_S``.

    Yaw to +-25, pitch and roll to +-15 degrees, speech, blinks, gaze, brows, smile, small steps.
    """
    t = t % LOOP_S
    opened, pucker = _speech(t)
    # A head is never quite still; at the neutral start it nearly is.
    sway = min(max(t - NEUTRAL_S, 0), max(LOOP_S - t, 0), 1.0)
    lids = 1 - _blink(t)
    gaze_y = _eased(_GAZE_Y, t)
    lids = lids * (1 + 0.3 * min(gaze_y, 0)) * (1 + 0.12 * max(_eased(_BROW, t), 0))
    return Moment(
        yaw=_eased(_YAW, t),
        pitch=_eased(_PITCH, t),
        roll=_eased(_ROLL, t),
        x=_eased(_X, t) + 0.002 * sway * math.sin(2.1 * t),
        y=_eased(_Y, t) + 0.002 * sway * math.sin(2.9 * t + 1),
        zoom=_eased(_ZOOM, t),
        mouth_open=opened,
        smile=_eased(_SMILE, t),
        pucker=pucker,
        brow=_eased(_BROW, t),
        eye_right=lids,
        eye_left=lids,
        gaze_x=_eased(_GAZE_X, t),
        gaze_y=gaze_y,
    )


def away(motion: Motion, start_s: float, end_s: float) -> Motion:
    """``motion``, but out of the picture (to its right) between the two moments."""

    def moved(t: float) -> Moment:
        moment = motion(t)
        gone = _ease((t - start_s) / 0.8 + 1) * _ease((end_s - t) / 0.8 + 1)
        return replace(moment, x=moment.x + 1.6 * gone)

    return moved


def visit(start_s: float, end_s: float, side: int = 1, motion: Motion = script) -> Motion:
    """A smaller face that looks in from picture right (``side`` 1) or left (-1) for a while."""

    def moved(t: float) -> Moment:
        moment = motion(t + LOOP_S / 3)
        here = _ease((t - start_s) / 0.8) * _ease((end_s - t) / 0.8)
        x = side * (0.46 + 1.0 * (1 - here)) + 0.5 * moment.x
        return replace(moment, x=x, y=0.02 + moment.y, zoom=0.62)

    return moved


def draw(
    appearance: Appearance,
    moment: Moment,
    width: int = 640,
    height: int = 480,
    guests: Sequence[tuple[Appearance, Moment]] = (),
) -> tuple[Image, Truth]:
    """One picture (height, width, 3) uint8 RGB of an explicit pose and expression, its truth."""
    view = View.webcam(width, height)
    canvas = _room(appearance, width, height).copy()
    for look, pose in guests:
        _sitter(look).draw(canvas, pose, view)
    return canvas, _sitter(appearance).draw(canvas, moment, view)


def perform(
    t: float,
    appearance: Appearance | None = None,
    width: int = 640,
    height: int = 480,
    motion: Motion | None = None,
    guests: Sequence[Guest] = (),
) -> tuple[Image, Truth]:
    """The performance at ``t`` seconds: picture (height, width, 3) uint8 RGB and its truth.

    The same arguments give the same pixels. Preparing an appearance takes some hundred
    milliseconds, and the last eight are kept: draw many moments of one before the next.
    """
    others = [(look, act(t)) for look, act in guests]
    return draw(appearance or Appearance(), (motion or script)(t), width, height, others)


class Performer:
    """The performer as a camera: ``read`` waits for the next frame on the clock and draws it.

    Like a camera it is live: a caller that comes late gets the frame of now, and the ones between
    are lost. ``captured_at`` is on the given clock.
    """

    name = "performer"
    live = True

    def __init__(
        self,
        appearance: Appearance | None = None,
        motion: Motion = script,
        guests: Sequence[Guest] = (),
        width: int = 640,
        height: int = 480,
        fps: float = 30.0,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.width, self.height, self.fps = width, height, fps
        self._appearance = appearance or Appearance()
        self._motion = motion
        self._guests = tuple(guests)
        self._clock, self._sleep = clock, sleep
        self._closed = threading.Event()
        self._next = 0
        # Prepare everybody before the first frame is due.
        self._sitter = _sitter(self._appearance)
        for look, _ in self._guests:
            _sitter(look)
        _room(self._appearance, width, height)
        self._start = clock()

    def read(self) -> Frame | None:
        """The frame of now; waits until it is due. None once closed."""
        while not self._closed.is_set():
            elapsed = self._clock() - self._start
            # The epsilon: a sleep of exactly one interval must not fall short of it by rounding.
            index = max(math.floor(elapsed * self.fps + 1e-6), 0)
            if index < self._next:
                self._sleep(self._next / self.fps - elapsed)
                continue
            self._next = index + 1
            t = index / self.fps
            image, _ = perform(
                t, self._appearance, self.width, self.height, self._motion, self._guests
            )
            return Frame(image, self._start + t, index)
        return None

    def truth_at(self, captured_at: float) -> Truth:
        """What the frame of that moment shows; any moment, from any thread."""
        view = View.webcam(self.width, self.height)
        return self._sitter.truth(self._motion(captured_at - self._start), view)

    def close(self) -> None:
        """End the stream; twice is fine."""
        self._closed.set()

    def __enter__(self) -> "Performer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@lru_cache(maxsize=8)
def _sitter(appearance: Appearance) -> Sitter:
    return Sitter(appearance)


@lru_cache(maxsize=8)
def _room(appearance: Appearance, width: int, height: int) -> Image:
    return backdrop(appearance, width, height)


def _ease(t: float) -> float:
    """0 at 0 and 1 at 1, flat at both ends."""
    t = min(max(t, 0.0), 1.0)
    return t * t * (3 - 2 * t)


def _eased(keys: Sequence[tuple[float, float]], t: float) -> float:
    """The value at ``t``, eased between keys; before the first and after the last it rests."""
    previous_t, previous = keys[0]
    if t <= previous_t:
        return float(previous)
    for key_t, value in keys[1:]:
        if t < key_t:
            return previous + (value - previous) * _ease((t - previous_t) / (key_t - previous_t))
        previous_t, previous = key_t, value
    return float(previous)


def _blink(t: float) -> float:
    """How far the lids are closed, 0..1: down fast, a short rest, up slower."""
    closed = 0.0
    for middle, length in _BLINKS:
        phase = (t - middle) / length + 0.5
        closed = max(closed, _ease(phase / 0.33) * _ease((1 - phase) / 0.47))
    return closed


def _speech(t: float) -> tuple[float, float]:
    """Mouth opening and pucker of the syllable spoken at ``t``; closed between sentences."""
    for number, (start, end) in enumerate(_SPEECH):
        if start <= t <= end:
            rng = np.random.default_rng(number)
            count = math.ceil((end - start) / _SYLLABLE_S) + 2
            peaks, rounds = rng.uniform(0.12, 0.85, count), rng.uniform(-0.35, 0.75, count)
            at = (t - start) / _SYLLABLE_S
            here = int(at)
            swing = 0.5 - 0.5 * math.cos(2 * math.pi * at)
            envelope = _ease((t - start) / 0.15) * _ease((end - t) / 0.2)
            # Lips close fully only where a consonant asks for it.
            rest = 0.0 if here % 3 == 0 else 0.08
            pucker = rounds[here] + (rounds[here + 1] - rounds[here]) * _ease(at - here)
            return envelope * (rest + (peaks[here] - rest) * swing), float(envelope * pucker * 0.7)
    return 0.0, 0.0

"""Steps to sinks: new pictures at once, or on the even beat of a sink with a clock of its own."""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from config.errors import SinkError
from realtime.frame import Frame
from realtime.metrics import Metrics
from realtime.sinks import Sink

if TYPE_CHECKING:
    from realtime.puppeteer import Step

_log = logging.getLogger(__name__)

_POLL_S = 0.02
"""Longest time in which the caller's thread does not look at keys and its end."""
_SHORTEST, _LONGEST = 0.75, 1.25
"""Pictures that come so many intervals apart, on the whole, keep pace."""
_GRACE = 1.5
"""Intervals for which a picture that keeps pace is waited for before the last one is repeated."""


class Output(NamedTuple):
    """A step on its way to the sinks."""

    step: "Step"
    fresh: bool
    """True: made of a driving frame; False: made while there was none."""


class Beat:
    """When a sink that wants a steady rate is given a picture.

    Pictures that keep pace lead: they go out as they come, and one that is a little late is waited
    for. Where they come slower or faster the clock leads: every interval, exactly, the newest
    picture goes out, or the last one again.
    """

    def __init__(self, fps: float) -> None:
        self._interval_s = 1 / fps
        self._pace_s = self._interval_s
        """Running mean of the time between two new pictures."""
        self._new_at: float | None = None
        self._given_at: float | None = None
        self.due = 0.0
        """When the next picture is wanted, whatever it be."""

    def now(self, now: float) -> bool:
        """A new picture has come: True if it is to be given at once, False if it must wait for
        ``due``."""
        if self._new_at is not None:
            # One long silence says nothing about the pace.
            gap_s = min(now - self._new_at, 3 * self._interval_s)
            self._pace_s += 0.1 * (gap_s - self._pace_s)
        self._new_at = now
        if self._given_at is None or now >= self.due:
            return True
        if self._leads:
            # One that comes too soon waits a little: after a few the beat is that of the model.
            self.due = min(self.due, self._given_at + _SHORTEST * self._interval_s)
        else:
            self.due = min(self.due, self._given_at + self._interval_s)
        return now >= self.due

    def given(self, now: float, new: bool) -> None:
        """A picture has gone out at ``now``; ``new``: not a repeat."""
        leads = self._leads
        on_the_beat = self._given_at is not None and 0 <= now - self.due < self._interval_s / 2
        # Where the clock leads: from the moment it was due, not from when it was done, so that
        # nothing drifts.
        self._given_at = self.due if on_the_beat and not leads else now
        wait = _GRACE if new and leads else 1.0
        self.due = self._given_at + wait * self._interval_s

    @property
    def _leads(self) -> bool:
        return _SHORTEST <= self._pace_s / self._interval_s <= _LONGEST


class Delivery:
    """Gives steps to all sinks. One that fails is told, closed and left out; the others go on."""

    def __init__(self, sinks: Sequence[Sink], metrics: Metrics, clock: Callable[[], float]) -> None:
        self._sinks = list(sinks)
        self._metrics = metrics
        self._clock = clock
        self._last: Frame | None = None
        self._beats = {id(s): Beat(s.repeat_fps) for s in sinks if s.repeat_fps is not None}
        self._waiting: set[int] = set()
        """Sinks (by identity) whose beat has not come since the last step."""
        self._unrecorded: tuple[Output, float] | None = None
        """A step that not all sinks have yet, and the seconds spent on sending it."""
        self.dropped = 0
        """Steps replaced by a newer one before each sink had them."""

    def send(self, output: Output) -> None:
        """A new frame to all sinks whose beat it is. Raises SinkError when the last sink has
        failed."""
        if self._unrecorded is not None:
            self.dropped += 1
        self._last = frame = output.step.frame
        started = self._clock()
        for sink in tuple(self._sinks):
            beat = self._beats.get(id(sink))
            if beat is None or beat.now(self._clock()):
                self._give(sink, frame, new=True)
            else:
                self._waiting.add(id(sink))
        self._unrecorded = (output, self._clock() - started) if output.fresh else None
        self._record()

    def repeat(self, now: float) -> None:
        """The last frame, or the one that waits, to the sinks whose beat it is. Raises SinkError
        like ``send``."""
        for sink in tuple(self._sinks):
            beat = self._beats.get(id(sink))
            if beat is None or self._last is None or now < beat.due:
                continue
            new = id(sink) in self._waiting
            if not new:
                self._metrics.repeated += 1
            self._give(sink, self._last, new)
        self._record()

    def wait_s(self, now: float) -> float:
        """Seconds until the next beat, at most those between two looks at the keys."""
        beats = self._beats.values() if self._last is not None else ()
        return max(0.0, min([_POLL_S, *(beat.due - now for beat in beats)]))

    def _give(self, sink: Sink, frame: Frame, new: bool) -> None:
        self._waiting.discard(id(sink))
        try:
            sink.send(frame)
        except SinkError as error:
            self._sinks.remove(sink)
            self._beats.pop(id(sink), None)
            sink.close()
            if not self._sinks:
                raise
            _log.warning("%s; the other outputs go on", error)
            return
        beat = self._beats.get(id(sink))
        if beat is not None:
            beat.given(self._clock(), new)

    def _record(self) -> None:
        if self._unrecorded is None or self._waiting:
            return
        output, send_s = self._unrecorded
        self._unrecorded = None
        stages = {**output.step.stages, "send": send_s}
        self._metrics.record(output.step.frame.captured_at, self._clock(), stages)

"""The live path in threads: capture -> Latest[Frame] -> inference -> Latest -> the caller's sinks.

What each thread does lies in a small class without threads (``Capture``, ``Inference``,
``Delivery``), which tests drive on a clock of their own; the threads only call them. Frames are
handed over by ``Latest`` alone: a slow stage drops old frames instead of falling behind.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from config.errors import SourceError
from config.schema import CameraSettings
from realtime.camera import Source
from realtime.delivery import Delivery, Output
from realtime.frame import Frame, Latest
from realtime.light import LightMeter
from realtime.metrics import Metrics
from realtime.sinks import Sink

if TYPE_CHECKING:
    from realtime.puppeteer import Puppeteer, Step

_log = logging.getLogger(__name__)

MAX_RETRY_S = 8.0
"""Longest wait before a lost camera is tried again."""
IDLE_S = 1 / 30
"""Interval of the pictures that are made while no frame comes."""
_JOIN_S = 3.0
"""Longest wait for a thread to end: a camera's driver may block."""


class Capture:
    """The source and, when it is a camera that was lost, its return."""

    def __init__(
        self,
        open_source: Callable[[], Source],
        settings: CameraSettings,
        clock: Callable[[], float],
    ) -> None:
        """Opens the source: one that never was there is the user's mistake. Raises SourceError."""
        self._open_source = open_source
        self._settings = settings
        self._clock = clock
        self._source: Source | None = open_source()
        self._retry_s = settings.retry_s
        self._retry_at = 0.0
        self.name = self._source.name
        self.live = self._source.live
        self.lost = False
        """True from the loss of a camera until it gives a frame again."""
        self.ended = False
        self.count = 0
        """Frames read."""
        self._light = LightMeter()

    def read(self) -> Frame | None:
        """The next frame. None: the stream has ended (``ended``), or the camera is lost and is to
        be asked again after ``wait_s``. Raises SourceError for a file that cannot be read on."""
        try:
            if self._source is None:
                if self.wait_s() > 0:
                    return None
                self._source = self._open_source()
            frame = self._source.read()
        except SourceError as error:
            if not self.live:
                raise
            self._lose(error)
            return None
        if frame is None:
            self.ended = True
            return None
        if self.lost:
            self.lost = False
            self._retry_s = self._settings.retry_s
            _log.warning("camera back: %s", self.name)
        self.count += 1
        hint = self._light.look(frame.image, frame.captured_at) if self.live else None
        if hint:
            _log.warning(hint)
        return frame

    def wait_s(self) -> float:
        """Seconds until a lost camera is tried again; 0 when it is time, or it is not lost."""
        return max(0.0, self._retry_at - self._clock()) if self._source is None else 0.0

    def early_s(self, frame: Frame) -> float:
        """Seconds by which a file's frame comes before its time; 0 for cameras."""
        return 0.0 if self.live else max(0.0, frame.captured_at - self._clock())

    def _lose(self, error: SourceError) -> None:
        if not self.lost:
            self.lost = True
            _log.warning("camera lost: %s", error)
        self.close()
        self._retry_at = self._clock() + self._retry_s
        self._retry_s = min(2 * self._retry_s, MAX_RETRY_S)

    def close(self) -> None:
        """Close the source; twice is fine."""
        if self._source is not None:
            self._source.close()
            self._source = None


class Inference:
    """Frames, or their absence, into steps; and what others want done to the puppeteer."""

    def __init__(self, puppeteer: "Puppeteer", stall_s: float) -> None:
        self._puppeteer = puppeteer
        self._stall_s = stall_s
        self._last_at: float | None = None
        # Not a Latest: of two key presses the first one counts as well.
        self._actions: queue.SimpleQueue[Callable[[Puppeteer], object]] = queue.SimpleQueue()

    def post(self, action: Callable[["Puppeteer"], object]) -> None:
        """Have ``action`` run between two frames, by the thread that owns the puppeteer."""
        self._actions.put(action)

    def step(self, frame: Frame | None, now: float, live: bool, lost: bool) -> Output | None:
        """The step for ``frame``; without one, the idle picture once the camera counts as gone (it
        is ``lost``, or it is ``live`` and has been silent for ``stall_s``), and in panic, whose
        card waits for no camera. Else None."""
        while not self._actions.empty():
            self._actions.get()(self._puppeteer)
        if frame is not None or self._last_at is None:
            self._last_at = now  # silence is counted from the first call on
        if frame is not None:
            return Output(self._puppeteer.step(frame), True)
        stalled = live and now - self._last_at >= self._stall_s
        if lost or stalled or self._puppeteer.panicking:
            return Output(self._puppeteer.idle(now), False)
        return None


class Pipeline:
    """One run from a source to sinks. The caller owns puppeteer and sinks and closes them."""

    def __init__(
        self,
        open_source: Callable[[], Source],
        puppeteer: "Puppeteer",
        sinks: Sequence[Sink],
        metrics: Metrics,
        settings: CameraSettings,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """``open_source`` is called by ``run``, again whenever a camera was lost; ``clock`` must
        be that of the source's ``captured_at``."""
        self.metrics = metrics
        self._open_source = open_source
        self._settings = settings
        self._clock = clock
        self._inference = Inference(puppeteer, settings.stall_s)
        self._delivery = Delivery(sinks, metrics, clock)
        self.every = 1
        """One of so many frames of the source is used; any thread may change it."""
        self._frames: Latest[Frame] = Latest()
        self._outputs: Latest[Output] = Latest()
        self._stop = threading.Event()
        self._errors: queue.SimpleQueue[Exception] = queue.SimpleQueue()

    def post(self, action: Callable[["Puppeteer"], object]) -> None:
        """Have ``action(puppeteer)`` run between two frames, on the inference thread."""
        self._inference.post(action)

    def stop(self) -> None:
        """End the run; from any thread."""
        self._stop.set()
        self._frames.close()
        self._outputs.close()

    def run(
        self,
        until: Callable[[], bool] | float | None = None,
        watch: Callable[["Step"], None] | None = None,
    ) -> None:
        """Run in the calling thread, once, until the source ends, ``stop``, or ``until``.

        until: seconds, or a function that is asked at least 50 times a second and says True at the
        end. watch: called in this thread with each step that went to the sinks, not with repeats.
        A file plays once, at its own pace; the run ends when its last frame was delivered. Raises
        SourceError when the source is not there, what a thread raised, and SinkError when no sink
        is left.
        """
        capture = Capture(self._open_source, self._settings, self._clock)
        threads = [
            threading.Thread(target=self._guard, args=(loop, capture), name=name, daemon=True)
            for name, loop in (("capture", self._capture_loop), ("inference", self._infer_loop))
        ]
        self.metrics.start()
        deadline = self._clock() + until if isinstance(until, (int, float)) else None
        try:
            for thread in threads:
                thread.start()
            while not self._stop.is_set():
                now = self._clock()
                if (callable(until) and until()) or (deadline is not None and now >= deadline):
                    break
                closed = self._outputs.closed  # asked before: what is put before closing counts
                output = self._outputs.take(self._delivery.wait_s(now))
                if output is not None:
                    self._delivery.send(output)
                    if watch is not None:
                        watch(output.step)
                elif closed:
                    break
                else:
                    self._delivery.repeat(self._clock())
                self._count(capture)
        finally:
            self.stop()
            for thread in threads:
                thread.join(_JOIN_S)
                if thread.is_alive():
                    _log.warning("%s did not end in %g s; left behind", thread.name, _JOIN_S)
            self._count(capture)
        if not self._errors.empty():
            raise self._errors.get()

    def _count(self, capture: Capture) -> None:
        self.metrics.captured = capture.count
        slots = self._frames.dropped + self._outputs.dropped
        self.metrics.dropped = slots + self._delivery.dropped

    def _guard(self, loop: Callable[[Capture], None], capture: Capture) -> None:
        """Run a thread's loop; whatever it raises is the caller's to hear."""
        try:
            loop(capture)
        except Exception as error:  # noqa: BLE001 - raised again by run
            self._errors.put(error)
            self.stop()

    def _capture_loop(self, capture: Capture) -> None:
        try:
            while not self._stop.is_set():
                frame = capture.read()
                if frame is not None:
                    self._stop.wait(capture.early_s(frame))
                    if capture.count % self.every == 0:
                        self._frames.put(frame)
                elif capture.ended:
                    break
                else:
                    self._stop.wait(capture.wait_s())
        finally:
            capture.close()
            self._frames.close()

    def _infer_loop(self, capture: Capture) -> None:
        while not self._stop.is_set():
            closed = self._frames.closed  # asked before: what is put before closing counts
            frame = self._frames.take(IDLE_S)
            if frame is None and closed:
                break
            output = self._inference.step(frame, self._clock(), capture.live, capture.lost)
            if output is not None:
                self._outputs.put(output)
        self._outputs.close()

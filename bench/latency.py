"""How long a picture takes: the networks alone, and the whole way from a source to a sink.

Frame age is measured from ``captured_at`` to the moment the sink has the picture. What a camera
takes before it hands a picture over, and a screen after it gets one, is not in it.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.energy import Energy, EnergyMeter
from bench.machine import peak_memory_mb, process_age_s
from config.schema import Settings
from realtime.avatar import Avatar
from realtime.camera import Source
from realtime.engine import Engine
from realtime.frame import Image
from realtime.metrics import Metrics, Spread, Summary, spread
from realtime.pipeline import Pipeline
from realtime.puppeteer import Puppeteer, Step
from realtime.scene import Scene
from realtime.sinks import MemorySink, Sink

FIRST_PICTURE_S = 60.0
"""Longest wait for the first picture."""
WARM_UP = 3
"""Steps that are not counted: a runtime makes its plans in the first ones."""
LONGEST_CHANGE_S = 10.0
"""Longest wait for the other avatar."""
AFTER_CHANGE_S = 0.5
"""How long the output is watched after it."""


@dataclass(frozen=True, slots=True)
class ModelTimes:
    """The engine alone, step after step, nothing else running in this process."""

    first_ms: float
    """The very first step: what a runtime makes ready then is in it."""
    warm_up_ms: float
    """The steps that are not counted, together."""
    avatar_ms: float
    """Encoding the avatar, once per avatar; the second time it is done."""
    keypoints: Spread
    generate: Spread
    step: Spread
    """Keypoints and generate of one driving frame."""


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What the source turned out to be."""

    name: str
    width: int
    height: int
    fps: float
    live: bool


@dataclass(frozen=True, slots=True)
class AvatarChange:
    """Another avatar asked for in the middle of a run, seen from the sink."""

    shown_ms: float
    """From the asking to its first picture."""
    gap_ms: float
    """Longest time without a new picture from the asking until half a second after that."""
    usual_gap_ms: float
    """The median time between two pictures of the run."""


@dataclass(frozen=True, slots=True)
class PipelineTimes:
    """The whole way, measured. All but the change of avatar is of the time before it."""

    summary: Summary
    jitter_ms: float
    """Standard deviation of the time between two new pictures at the sink."""
    first_frame_ms: float
    """From the start of the threads to the first picture at the sink; opening the source too."""
    process_ms: float
    """From the start of the process to the first picture, without what made the source's pictures
    (of performer:loop). Means something where the process did nothing else before."""
    memory_mb: float
    """Largest resident memory since the process began, megabytes (10^6 bytes)."""
    energy: Energy
    avatar_change: AvatarChange | None
    """None where there is no other avatar, or it never showed."""


def measure_model(
    engine: Engine,
    image: Image,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> ModelTimes:
    """Steps of the engine for ``seconds``, at least 5. ``image``: the avatar (S, S, 3) uint8 RGB;
    a copy of it stands for the driver, since times do not depend on what is to be seen."""
    engine.set_avatar(image)
    started = clock()
    engine.set_avatar(image)
    avatar_ms = 1000 * (clock() - started)
    side = engine.bundle.keypoint_size
    driving: Image = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA))
    marks: list[tuple[float, float, float]] = []
    began = clock()
    while len(marks) < WARM_UP + 5 or clock() - began < seconds:
        start = clock()
        keypoints, _ = engine.keypoints(driving)
        middle = clock()
        engine.generate(keypoints)
        marks.append((start, middle, clock()))
    times = np.diff(np.array(marks), axis=1)
    counted = times[WARM_UP:]
    return ModelTimes(
        first_ms=1000 * float(times[0].sum()),
        warm_up_ms=1000 * float(times[:WARM_UP].sum()),
        avatar_ms=avatar_ms,
        keypoints=spread(counted[:, 0]),
        generate=spread(counted[:, 1]),
        step=spread(counted.sum(axis=1)),
    )


def measure_pipeline(
    puppeteer: Puppeteer,
    opened: Callable[[], Source],
    settings: Settings,
    seconds: float,
    *,
    sinks: Sequence[Sink] | None = None,
    other: Avatar | None = None,
    made_s: float = 0.0,
    stopped: Callable[[], bool] = lambda: False,
    watch: Callable[[Pipeline, Step], None] = lambda pipeline, step: None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[PipelineTimes, SourceFacts]:
    """A source through the real pipeline into ``sinks`` (default: memory): for ``seconds`` from the
    first picture on, or to the source's end. A minute without a picture ends it too.

    ``other``: an avatar to change to when the time is over. ``made_s``: what ``process_ms`` leaves
    out. ``stopped`` is asked all the time and ends it early; ``watch`` gets the pipeline and
    each step. Raises SourceError, SinkError.
    """
    facts: list[SourceFacts] = []

    def opened_and_noted() -> Source:
        found = opened()
        facts.append(SourceFacts(found.name, found.width, found.height, found.fps, found.live))
        return found

    metrics = Metrics(clock)
    outputs = [MemorySink(keep=1)] if sinks is None else sinks
    pipeline = Pipeline(opened_and_noted, puppeteer, outputs, metrics, settings.camera)
    watcher: ChangeWatcher | None = None
    began = clock()
    if other is not None and puppeteer.avatar is not None:
        watcher = ChangeWatcher(puppeteer.avatar, other, settings)
    # What the bench itself needs is not the run's.
    made_s += clock() - began
    began = clock()
    before_ms = 1000 * (process_age_s() - made_s)
    times: list[float] = []
    summary: Summary | None = None
    energy, peak_mb = Energy(None, ""), 0.0
    meter: EnergyMeter | None = None
    change: ChangeWatcher | None = None

    def measured() -> tuple[Summary, float, Energy]:
        now = metrics.summary()
        # Systems tell the peak and what is resident a little apart.
        peak = max(peak_memory_mb(), now.memory_mb)
        return now, peak, meter.read() if meter else energy

    def over() -> bool:
        nonlocal summary, energy, peak_mb, change, meter
        now = clock()
        if meter is None and metrics.delivered:
            meter = EnergyMeter()
        waited = now - (times[0] if times else began)
        if summary is None and (waited >= (seconds if times else FIRST_PICTURE_S)):
            summary, peak_mb, energy = measured()
            if other is not None and watcher is not None and times:
                change = watcher
                change.ask(now)
                bring = partial(_bring, pipeline, puppeteer, other)
                threading.Thread(target=bring, name="avatar").start()
        return stopped() or (summary is not None and (change is None or change.over(now)))

    def seen(step: Step) -> None:
        now = clock()
        if summary is None:
            times.append(now)
        if change is not None:
            change.see(step.frame.image, now)
        watch(pipeline, step)

    pipeline.run(until=over, watch=seen)
    if summary is None:  # the source's end came first
        summary, peak_mb, energy = measured()
    first_ms = 1000 * (times[0] - began) if times else 0.0
    gaps = np.diff(times) * 1000
    found = PipelineTimes(
        summary=summary,
        jitter_ms=float(gaps.std()) if gaps.size else 0.0,
        first_frame_ms=first_ms,
        process_ms=before_ms + first_ms if times else 0.0,
        memory_mb=peak_mb,
        energy=energy,
        avatar_change=change.outcome(float(np.median(gaps)) if gaps.size else 0.0)
        if change
        else None,
    )
    return found, facts[0]


def _bring(pipeline: Pipeline, puppeteer: Puppeteer, avatar: Avatar) -> None:
    """As the controls do it: what can be done beside the frames is done there."""
    puppeteer.prepare(avatar)
    pipeline.post(lambda one: one.set_avatar(avatar))


class ChangeWatcher:
    """Watches the output for another avatar, by its pixels alone."""

    def __init__(self, before: Avatar, after: Avatar, settings: Settings) -> None:
        output = settings.output
        self._looks = [
            _thumbnail(Scene(avatar, output, carries=False).compose(avatar.image)[0])
            for avatar in (before, after)
        ]
        self._asked_at = 0.0
        self._times: list[float] = []
        self._shown_at: float | None = None

    def ask(self, now: float) -> None:
        """It is asked for now."""
        self._asked_at = now
        self._times = [now]

    def see(self, picture: Image, now: float) -> None:
        """A new picture at the sink."""
        self._times.append(now)
        if self._shown_at is None:
            look = _thumbnail(picture)
            old, new = (float(np.square(look - one).mean()) for one in self._looks)
            if new < old:
                self._shown_at = now

    def over(self, now: float) -> bool:
        """True once enough was seen, or it did not come."""
        if self._shown_at is None:
            return now - self._asked_at >= LONGEST_CHANGE_S
        return now - self._shown_at >= AFTER_CHANGE_S

    def outcome(self, usual_gap_ms: float) -> AvatarChange | None:
        """None: it was never shown."""
        if self._shown_at is None:
            return None
        return AvatarChange(
            shown_ms=1000 * (self._shown_at - self._asked_at),
            gap_ms=1000 * float(np.diff(self._times).max()),
            usual_gap_ms=usual_gap_ms,
        )


def _thumbnail(picture: Image) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(picture, (16, 12), interpolation=cv2.INTER_AREA), np.float32)

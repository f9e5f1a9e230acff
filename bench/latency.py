"""How long a picture takes: the networks alone, and the whole way from a source to a sink.

Frame age is measured from ``captured_at`` to the moment the sink has the picture. What a camera
takes before it hands a picture over, and a screen after it gets one, is not in it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from config.schema import Settings
from realtime.camera import Source, open_source
from realtime.engine import Engine
from realtime.frame import Image
from realtime.metrics import Metrics, Spread, Summary, spread
from realtime.pipeline import Pipeline
from realtime.sinks import MemorySink

if TYPE_CHECKING:
    from realtime.puppeteer import Puppeteer, Step

FIRST_PICTURE_S = 60.0
"""Longest wait for the first picture."""
WARM_UP = 3
"""Steps that are not counted: a runtime makes its plans in the first ones."""


@dataclass(frozen=True, slots=True)
class ModelTimes:
    """The engine alone, step after step, nothing else running in this process."""

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
    times = np.diff(np.array(marks[WARM_UP:]), axis=1)
    return ModelTimes(
        avatar_ms=avatar_ms,
        keypoints=spread(times[:, 0]),
        generate=spread(times[:, 1]),
        step=spread(times.sum(axis=1)),
    )


def measure_pipeline(
    puppeteer: "Puppeteer",
    source: str,
    settings: Settings,
    seconds: float,
    *,
    stopped: Callable[[], bool] = lambda: False,
    watch: "Callable[[Pipeline, Step], None]" = lambda pipeline, step: None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Summary, SourceFacts]:
    """``source`` through the real pipeline into a memory sink: for ``seconds`` from the first
    picture on, or to the source's end. A minute without a picture ends it too.

    ``stopped`` is asked all the time and ends it early; ``watch`` gets the pipeline and each step.
    Raises SourceError.
    """
    facts: list[SourceFacts] = []

    def opened() -> Source:
        found = open_source(source, settings.camera)
        facts.append(SourceFacts(found.name, found.width, found.height, found.fps, found.live))
        return found

    metrics = Metrics(clock)
    pipeline = Pipeline(opened, puppeteer, [MemorySink(keep=1)], metrics, settings.camera)
    ends_at = clock() + FIRST_PICTURE_S
    counting = False

    def over() -> bool:
        nonlocal ends_at, counting
        if metrics.delivered and not counting:
            ends_at, counting = clock() + seconds, True
        return stopped() or clock() >= ends_at

    pipeline.run(until=over, watch=lambda step: watch(pipeline, step))
    return metrics.summary(), facts[0]

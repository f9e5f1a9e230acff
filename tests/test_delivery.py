"""The beat of a sink with a clock of its own, on a virtual clock."""

import numpy as np
import pytest

from realtime.delivery import Delivery, Output
from realtime.frame import Frame
from realtime.metrics import Metrics
from realtime.puppeteer import Status, Step
from realtime.sinks import MemorySink

IMAGE = np.zeros((4, 4, 3), np.uint8)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class TimedSink(MemorySink):
    """Remembers when each picture came."""

    def __init__(self, clock: Clock, fps: float | None = 30) -> None:
        super().__init__(keep=1, repeat_fps=fps)
        self.clock = clock
        self.times: list[float] = []
        self.indices: list[int] = []

    def send(self, frame: Frame) -> None:
        super().send(frame)
        self.times.append(self.clock.now)
        self.indices.append(frame.index)


def run(
    arrivals: np.ndarray, sink_fps: float = 30, age_s: float = 0.05, late_s: float = 0.0005
) -> tuple[TimedSink, TimedSink, Metrics]:
    """Pictures made at ``arrivals``, ``age_s`` old, through the loop of the pipeline; it wakes up
    to ``late_s`` late. Returns (a sink with a clock, one without, the figures)."""
    clock, rng = Clock(), np.random.default_rng(1)
    metrics = Metrics(clock)
    steady, plain = TimedSink(clock, sink_fps), TimedSink(clock, None)
    delivery = Delivery([steady, plain], metrics, clock)
    for index, arrival in enumerate(arrivals):
        while clock.now + delivery.wait_s(clock.now) < arrival:
            clock.now += delivery.wait_s(clock.now) + rng.uniform(0, late_s)
            delivery.repeat(clock.now)
        clock.now = max(clock.now, float(arrival))
        frame = Frame(IMAGE, float(arrival) - age_s, index)
        step = Step(frame, IMAGE, IMAGE, Status.LIVE, {"generate": 0.05})
        delivery.send(Output(step, True))
    metrics.dropped = delivery.dropped
    return steady, plain, metrics


@pytest.mark.parametrize("model_fps", [2, 7, 11, 15, 19, 23])
def test_a_slow_model_gives_an_even_beat_at_the_sinks_rate(model_fps: float) -> None:
    jitter = np.random.default_rng(3).uniform(-0.01, 0.01, 20 * model_fps)
    arrivals = np.arange(20 * model_fps) / model_fps + jitter.clip(0)
    steady, plain, metrics = run(arrivals)
    gaps = np.diff(steady.times[30:])
    np.testing.assert_allclose(gaps, 1 / 30, atol=0.0011)
    assert len(steady.times) / arrivals[-1] == pytest.approx(30, rel=0.02)
    # Every picture of the model is seen, in order, at most one beat after it was made.
    assert list(dict.fromkeys(steady.indices)) == list(range(steady.indices[-1] + 1))
    assert plain.times == pytest.approx(arrivals.tolist(), abs=0.001)
    assert 50 <= metrics.summary().age.p50_ms <= 50 + 1000 / 30
    assert metrics.summary().age.p99_ms <= 50 + 1000 / 30 + 2
    assert metrics.dropped == 0


@pytest.mark.parametrize(("model_fps", "jitter_s"), [(26, 0.009), (29.97, 0.012), (33, 0.012)])
def test_a_model_that_keeps_pace_is_passed_on_without_doubles(
    model_fps: float, jitter_s: float
) -> None:
    jitter = np.random.default_rng(3).uniform(0, jitter_s, 600)
    arrivals = np.arange(600) / model_fps + jitter
    steady, _, metrics = run(arrivals)
    assert steady.indices == list(range(steady.indices[-1] + 1))
    assert metrics.repeated == 0
    age = metrics.summary().age
    assert age.p50_ms == pytest.approx(50, abs=0.1)  # at once
    assert age.p99_ms < 57


@pytest.mark.parametrize("model_fps", [60, 120])
def test_a_faster_model_is_thinned_out_to_the_beat(model_fps: float) -> None:
    arrivals = np.arange(10 * model_fps) / model_fps
    steady, plain, metrics = run(arrivals)
    np.testing.assert_allclose(np.diff(steady.times[9:]), 1 / 30, atol=0.0011)
    assert len(plain.times) == len(arrivals)
    ages = 50 + 1000 * (np.array(steady.times) - arrivals[steady.indices])
    assert ages.max() < 50 + 1000 / model_fps + 2  # the newest one, not one that waited
    assert metrics.delivered + metrics.dropped == pytest.approx(len(arrivals), abs=1)


def test_a_pause_is_filled_and_the_pace_found_again() -> None:
    arrivals = np.concatenate([np.arange(90) / 30, 6 + np.arange(90) / 30])
    steady, _, metrics = run(arrivals)
    pause = [t for t in steady.times if 3.1 < t < 5.9]
    np.testing.assert_allclose(np.diff(pause), 1 / 30, atol=0.0011)
    assert metrics.repeated == pytest.approx(90, abs=4)
    # Soon the beat is that of the model again, and nothing waits.
    assert [t for t in steady.times if t > 8] == pytest.approx(arrivals[arrivals > 8])

import json

import numpy as np
import pytest

from realtime.metrics import Metrics, spread


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_percentiles_of_an_even_ladder_are_its_rungs() -> None:
    ladder = spread(k / 1000 for k in range(101))
    assert (ladder.p50_ms, ladder.p95_ms, ladder.p99_ms) == pytest.approx((50, 95, 99))
    assert ladder.count == 101


def test_percentiles_agree_with_numpy() -> None:
    clock = Clock()
    metrics = Metrics(clock)
    steps = np.random.default_rng(1).gamma(2, 0.02, 500)
    for seconds in steps:
        metrics.record(clock.now - seconds, clock.now, {"generate": seconds})
    found = metrics.summary()
    expected = np.percentile(steps, (50, 95, 99)) * 1000
    for figures in (found.stages["generate"], found.age):
        np.testing.assert_allclose((figures.p50_ms, figures.p95_ms, figures.p99_ms), expected)


def test_empty_run_is_all_zeros() -> None:
    clock = Clock()
    found = Metrics(clock).summary()
    assert (found.fps, found.delivered, found.age.count, found.cpu_percent) == (0, 0, 0, 0)
    assert "frame age" in found.table()


def test_rate_counts_intervals_between_deliveries() -> None:
    clock = Clock()
    metrics = Metrics(clock)
    clock.now += 5  # a slow start is no part of the rate
    for _ in range(11):
        metrics.record(clock.now - 0.03, clock.now, {})
        clock.now += 0.1
    assert metrics.summary().fps == pytest.approx(10)
    assert metrics.recent(5) == pytest.approx((10, 0.03))


def test_only_the_newest_values_are_kept() -> None:
    clock = Clock()
    metrics = Metrics(clock, keep=10)
    for k in range(1000):
        clock.now += 1
        metrics.record(clock.now - k, clock.now, {"face": k})
    found = metrics.summary()
    assert found.delivered == 1000
    assert found.age.count == found.stages["face"].count == 10
    assert found.age.p50_ms == pytest.approx(994_500)  # the middle of 990..999 s


def test_start_forgets_what_was() -> None:
    clock = Clock()
    metrics = Metrics(clock)
    metrics.record(99, 100, {"face": 1})
    metrics.repeated = 4
    clock.now += 10
    metrics.start()
    found = metrics.summary()
    assert (found.delivered, found.repeated, found.seconds, dict(found.stages)) == (0, 0, 0, {})


def test_processor_and_memory_are_those_of_this_process() -> None:
    metrics = Metrics()
    block = np.ones(40_000_000, np.uint8)
    for _ in range(20):
        block = block * 3  # some processor time
    found = metrics.summary()
    assert 0.01 < found.cpu_s < 60
    assert found.cpu_percent == pytest.approx(100 * found.cpu_s / found.seconds)
    assert 40 < found.memory_mb < 100_000


def test_dictionary_is_plain_json_and_the_table_shows_its_numbers() -> None:
    clock = Clock()
    metrics = Metrics(clock)
    metrics.captured, metrics.dropped = 12, 2
    for _ in range(10):
        clock.now += 0.05
        metrics.record(clock.now - 0.0684, clock.now, {"generate": 0.0411})
    found = metrics.summary()
    again = json.loads(json.dumps(found.as_dict()))
    assert again["age"]["p50_ms"] == pytest.approx(68.4)
    assert again["stages"]["generate"]["p99_ms"] == pytest.approx(41.1)
    assert (again["captured"], again["delivered"], again["dropped"]) == (12, 10, 2)
    lines = found.table().splitlines()
    assert lines[1].split() == ["generate", "41.1", "41.1", "41.1"]
    assert lines[2].split() == ["frame", "age", "68.4", "68.4", "68.4"]
    assert "10 of 12 frames delivered, 2 dropped" in lines[3]

"""What a run costs: stage times, frame age, rates, processor and memory.

One thread records. Memory is bounded: each series keeps its newest values only, so the percentiles
of a long run are those of its last minutes. The counters and rates cover the whole run.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import psutil

_MEMORY_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles of a series of times, milliseconds."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    count: int
    """Values behind the percentiles."""


def spread(seconds: Iterable[float]) -> Spread:
    """Percentiles (linear interpolation) of times in seconds; zeros for an empty series."""
    values = np.fromiter(seconds, np.float64)
    if not values.size:
        return Spread(0.0, 0.0, 0.0, 0)
    p50, p95, p99 = (float(p) for p in np.percentile(values, (50, 95, 99)) * 1000)
    return Spread(p50, p95, p99, values.size)


@dataclass(frozen=True, slots=True)
class Summary:
    """A run, or what has passed of it."""

    seconds: float
    captured: int
    """Frames that the source gave."""
    delivered: int
    """Driving frames whose result reached the sinks."""
    dropped: int
    """Frames that a newer one replaced before the next stage took them."""
    repeated: int
    """Times that a sink got its last frame again because its own clock wanted one."""
    fps: float
    """Driving frames delivered per second, from the first to the last."""
    age: Spread
    """Frame age: from the capture of the driving frame until all sinks have its result."""
    stages: Mapping[str, Spread]
    cpu_s: float
    """Processor seconds of this process, all threads."""
    cpu_percent: float
    """The same per second of the run: 100 is one core, busy all the time."""
    memory_mb: float
    """Largest resident memory seen, megabytes (10^6 bytes)."""

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers under these names, for JSON."""
        return asdict(self)

    def table(self) -> str:
        """For the terminal."""
        rows = {**self.stages, "frame age": self.age}
        width = max(len(name) for name in rows)
        lines = [f"{'':{width}}  {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8}"]
        lines += [
            f"{name:{width}}  {s.p50_ms:8.1f} {s.p95_ms:8.1f} {s.p99_ms:8.1f}"
            for name, s in rows.items()
        ]
        lines.append(
            f"{self.fps:.1f} fps over {self.seconds:.1f} s: {self.delivered} of {self.captured} "
            f"frames delivered, {self.dropped} dropped, {self.repeated} repeats"
        )
        lines.append(
            f"processor {self.cpu_percent:.0f} % of one core, memory {self.memory_mb:.0f} MB"
        )
        return "\n".join(lines)


class Metrics:
    """Collects a run's figures. The caller of the pipeline records; any thread may read."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter, keep: int = 4096) -> None:
        """``keep``: newest values kept of each series."""
        self._clock = clock
        self._keep = keep
        self._process = psutil.Process()
        self._series = threading.Lock()  # a deque cannot be read while it grows
        self.start()

    def start(self) -> None:
        """Forget everything; the run begins now."""
        self.captured = 0
        self.dropped = 0
        self.repeated = 0
        self.delivered = 0
        self._stages: dict[str, deque[float]] = {}
        self._ages: deque[float] = deque(maxlen=self._keep)
        self._times: deque[float] = deque(maxlen=self._keep)
        self._first_at: float | None = None
        self._started_at = self._clock()
        self._cpu_at_start_s = self._cpu_s()
        self._memory_bytes = 0
        self._sample_memory(self._started_at)

    def record(self, captured_at: float, now: float, stages: Mapping[str, float]) -> None:
        """A driving frame's result has reached the sinks at ``now``; ``stages`` in seconds."""
        self.delivered += 1
        if self._first_at is None:
            self._first_at = now
        with self._series:
            self._ages.append(now - captured_at)
            self._times.append(now)
            for name, seconds in stages.items():
                self._stages.setdefault(name, deque(maxlen=self._keep)).append(seconds)
        if now - self._memory_at >= _MEMORY_EVERY_S:
            self._sample_memory(now)

    def recent(self, count: int = 30) -> tuple[float, float]:
        """(frames per second, mean frame age in seconds) of the newest ``count`` frames."""
        with self._series:
            times, ages = list(self._times)[-count:], list(self._ages)[-count:]
        if len(times) < 2 or times[-1] <= times[0]:
            return 0.0, ages[-1] if ages else 0.0
        return (len(times) - 1) / (times[-1] - times[0]), sum(ages) / len(ages)

    def summary(self) -> Summary:
        """The figures until now."""
        now = self._clock()
        self._sample_memory(now)
        seconds = now - self._started_at
        cpu_s = self._cpu_s() - self._cpu_at_start_s
        with self._series:
            last_at = self._times[-1] if self._times else now
            ages = list(self._ages)
            stages = {name: list(values) for name, values in self._stages.items()}
        fps = 0.0
        if self._first_at is not None and last_at > self._first_at:
            fps = (self.delivered - 1) / (last_at - self._first_at)
        return Summary(
            seconds=seconds,
            captured=self.captured,
            delivered=self.delivered,
            dropped=self.dropped,
            repeated=self.repeated,
            fps=fps,
            age=spread(ages),
            stages={name: spread(values) for name, values in stages.items()},
            cpu_s=cpu_s,
            cpu_percent=100 * cpu_s / seconds if seconds > 0 else 0.0,
            memory_mb=self._memory_bytes / 1e6,
        )

    def _cpu_s(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _sample_memory(self, now: float) -> None:
        self._memory_at = now
        self._memory_bytes = max(self._memory_bytes, self._process.memory_info().rss)

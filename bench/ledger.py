"""What a long run is seen to hold, minute by minute, and whether its end is as its start."""

import sys
import threading
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realtime.puppeteer import Step

MOST_MB = 20.0
"""Growth of memory that is none, megabytes (10^6 bytes): the system's allocator breathes."""
AGE_SLACK = 0.1
"""Part by which frames may be older at the end: a machine does other things too."""


@dataclass(frozen=True, slots=True)
class Row:
    """A minute, or what ``--every`` says."""

    until_s: float
    """Its end, seconds since the first picture."""
    memory_mb: float
    """Resident, the median, megabytes (10^6 bytes)."""
    threads: int
    """The median, as of the others: one that ends again is no leak."""
    files: int
    """Open files and connections."""
    age_p50_ms: float
    """From a frame's capture to the sinks."""
    age_p95_ms: float
    delivered: int
    """Driving frames that reached the sinks."""
    gap_ms: float
    """Longest time without a picture at the sink, repeats being pictures."""
    viewed: int
    """Pictures that the viewer got."""


@dataclass(frozen=True, slots=True)
class Soak:
    """What was done and what was seen."""

    rows: tuple[Row, ...]
    changes: int
    """Avatars shown."""
    recentres: int
    losses: int
    """Times at which the camera was away and that was noticed."""
    returns: int
    failed: tuple[str, ...]
    """Asked for and not done."""

    @property
    def start(self) -> Row:
        """The second row: in the first some avatars are shown, and some code runs, for the first
        time."""
        return self.rows[min(1, len(self.rows) - 1)]

    def complaints(self) -> list[str]:
        """What is not at the end as it was at the start; none where all is well."""
        first, last = self.start, self.rows[-1]
        found = list(self.failed)
        grown = last.memory_mb - first.memory_mb
        if grown >= MOST_MB:
            found.append(f"memory grew by {grown:.1f} MB, {MOST_MB:g} at most")
        if last.threads > first.threads:
            found.append(f"threads grew from {first.threads} to {last.threads}")
        if last.files > first.files:
            found.append(f"open files grew from {first.files} to {last.files}")
        if last.age_p50_ms > first.age_p50_ms * (1 + AGE_SLACK):
            found.append(f"frame age grew from {first.age_p50_ms:.1f} to {last.age_p50_ms:.1f} ms")
        if not self.losses or self.returns < self.losses:
            found.append(f"the camera was lost {self.losses} times and came back {self.returns}")
        return found


class Ledger:
    """What is seen of a run, until it is read off. Several threads write, one reads."""

    def __init__(self) -> None:
        self.losses = self.returns = 0
        self.failed: list[str] = []
        self._lost = False
        self._lock = threading.Lock()
        self._ages: list[float] = []
        self._memory: list[float] = []
        self._threads: list[int] = []
        self._files: list[int] = []

    def see(self, step: "Step", now: float) -> None:
        """A step that went to the sinks."""
        lost = step.view is None
        if lost and not self._lost:
            self.losses += 1
        elif self._lost and not lost:
            self.returns += 1
        self._lost = lost
        if not lost:
            with self._lock:
                self._ages.append(now - step.frame.captured_at)

    def sample(self) -> None:
        """What the process holds now."""
        import psutil

        process = psutil.Process()
        self._memory.append(process.memory_info().rss / 1e6)
        self._threads.append(process.num_threads())
        if sys.platform == "win32":
            self._files.append(process.num_handles())
        else:
            self._files.append(process.num_fds())

    def row(self, until_s: float, gap_s: float, viewed: int) -> Row:
        """All since the row before."""
        from realtime.metrics import spread

        with self._lock:
            ages, self._ages = self._ages, []
        age = spread(ages)
        row = Row(
            until_s, median(self._memory), round(median(self._threads)), round(median(self._files)),
            age.p50_ms, age.p95_ms, len(ages), 1000 * gap_s, viewed,
        )  # fmt: skip
        self._memory, self._threads, self._files = [], [], []
        return row

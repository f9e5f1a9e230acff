"""Steps quality down when the picture comes too late, and up again when there is room.

Pure logic: it is told each frame's age and says which rung of a ladder to stand on. What a rung
means is its caller's. It knows nothing of why a machine is slow: a rung that does not hold is left
alone for longer and longer.
"""

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from config.schema import EngineSettings
from models.bundle import bundle_folder, open_bundle, precisions

LATE_S = 2.0
"""So long the median age is over the budget before a step down."""
ROOM_S = 10.0
"""So long nearly all ages are well under it before a step up."""
ROOM = 0.6
"""Well under: this part of the budget."""
NEARLY_ALL = 90
"""Per cent of the frames."""
RELAPSE_S = 20.0
"""A step down so soon after a step up shows that there was no room."""
LONGEST_WAIT_S = 300.0
LEAST_FRAMES = 10
"""Fewer tell nothing."""
SLOWER = (2, 3)
"""Every so manieth frame of the camera, on the last rungs: an even rhythm."""


@dataclass(frozen=True, slots=True)
class Rung:
    """A way to run, the best first."""

    name: str
    """For the user: what is different from the rung above."""
    engine: EngineSettings
    every: int = 1
    """One of so many camera frames is used."""


def ladder(settings: EngineSettings, chosen: EngineSettings) -> list[Rung]:
    """What can be stepped down to from what was ``chosen`` for ``settings``: int8 where the user
    left the precision open, the smaller bundle, then a slower camera. Raises BundleError for a
    smaller bundle that is none."""
    bundle = open_bundle(bundle_folder(chosen.bundle), chosen.precision)
    lighter = []
    is_open = settings.precision == "auto" and bundle.precision == "fp32"
    if is_open and "int8" in precisions(bundle):
        lighter.append(Rung("networks in int8", replace(chosen, precision="int8")))
    smaller = settings.smaller
    if smaller == "auto":
        smaller = "small" if chosen.bundle == "default" else "none"
    if smaller != "none":
        offered = precisions(open_bundle(bundle_folder(smaller)))
        above = lighter[-1].engine.precision if lighter else chosen.precision
        precision = above if above in offered else "auto"
        engine = replace(chosen, bundle=smaller, precision=precision)
        lighter.append(Rung(f"the bundle {smaller}", engine))
    top = Rung("as at the start", chosen)
    last = lighter[-1] if lighter else top
    before = f"{last.name} and " if lighter else ""
    slower = [
        Rung(f"{before}the camera at 1/{every} of its rate", last.engine, every) for every in SLOWER
    ]
    return [top, *lighter, *slower]


class Adaptive:
    """Which rung to stand on. Not thread-safe."""

    def __init__(self, rungs: int, budget_s: float) -> None:
        """``rungs``: how many there are; 0 is the best. ``budget_s``: age of a frame, seconds."""
        self.rung = 0
        self._rungs = rungs
        self._budget_s = budget_s
        self._ages: deque[tuple[float, float]] = deque()
        self._since: float | None = None
        self._stepped_up_at: float | None = None
        self._wait_s = ROOM_S

    def observe(self, now: float, age_s: float) -> bool:
        """A frame of this age was delivered at ``now``. True where ``rung`` has changed."""
        if self._since is None:
            self._since = now
        self._ages.append((now, age_s))
        while self._ages[0][0] < now - self._wait_s:
            self._ages.popleft()
        if self.rung < self._rungs - 1 and self._is_late(now):
            held = self._stepped_up_at is not None and now - self._stepped_up_at < RELAPSE_S
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S) if held else ROOM_S
            self._stand_on(self.rung + 1, now)
            return True
        if self.rung > 0 and self._has_room(now):
            self._stand_on(self.rung - 1, now)
            self._stepped_up_at = now
            return True
        return False

    def _stand_on(self, rung: int, now: float) -> None:
        self.rung, self._since = rung, now
        self._ages.clear()  # those of another rung

    def _is_late(self, now: float) -> bool:
        return self._lasted(now, LATE_S) and self._age(now, LATE_S, 50) > self._budget_s

    def _has_room(self, now: float) -> bool:
        if not self._lasted(now, self._wait_s):
            return False
        return self._age(now, self._wait_s, NEARLY_ALL) < ROOM * self._budget_s

    def _lasted(self, now: float, seconds: float) -> bool:
        return self._since is not None and now - self._since >= seconds

    def _age(self, now: float, seconds: float, percent: float) -> float:
        """Of the last ``seconds``; nan, which is neither late nor early, for too few frames."""
        ages = [age for at, age in self._ages if at >= now - seconds]
        return float(np.percentile(ages, percent)) if len(ages) >= LEAST_FRAMES else float("nan")

"""Joules of the processor, from the counters that Linux shows of Intel's and AMD's (RAPL).

They count the whole package, other programs included. Virtual machines rarely show them, and most
systems let only root read them: then the reason is told instead.
"""

from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True)
class Energy:
    """What a stretch of time took."""

    joules: float | None
    """Of all packages; None where the machine does not tell."""
    note: str
    """Whose joules they are, or why there are none."""


class EnergyMeter:
    """Counts from its making on."""

    def __init__(self, root: Path = POWERCAP) -> None:
        self._packages: list[Path] = []
        self._note = f"the machine tells no joules: no RAPL counters in {root}"
        # Domains inside a package (intel-rapl:0:0) are part of it.
        for domain in sorted(root.glob("*-rapl:*")):
            if domain.name.count(":") == 1 and _text(domain / "name").startswith("package"):
                self._packages.append(domain)
        self._before = [_counter(package / "energy_uj") for package in self._packages]
        if self._packages:
            self._note = "the whole processor's, other programs included (RAPL)"
        if None in self._before:
            self._note = f"the joules in {root} are for root's eyes only"

    def read(self) -> Energy:
        """Since the meter was made. A counter that started anew once is seen, twice is not: they
        run for minutes to hours."""
        joules = 0.0
        for package, before in zip(self._packages, self._before, strict=True):
            now = _counter(package / "energy_uj")
            if before is None or now is None:
                return Energy(None, self._note)
            if now < before:
                now += _counter(package / "max_energy_range_uj") or 0
            joules += (now - before) / 1e6
        return Energy(joules if self._packages else None, self._note)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _counter(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdecimal() else None

"""Joules from a made-up folder of counters."""

from pathlib import Path

from bench.energy import EnergyMeter


def domain(root: Path, folder: str, name: str, microjoules: int) -> Path:
    path = root / folder
    path.mkdir(parents=True, exist_ok=True)
    (path / "name").write_text(f"{name}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    (path / "max_energy_range_uj").write_text("262143328850\n")
    return path / "energy_uj"


def test_packages_are_summed_and_their_parts_are_not(tmp_path: Path) -> None:
    first = domain(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    second = domain(tmp_path, "intel-rapl:1", "package-1", 5_000_000)
    core = domain(tmp_path, "intel-rapl:0:0", "core", 7_000_000)
    psys = domain(tmp_path, "intel-rapl:2", "psys", 100)
    meter = EnergyMeter(tmp_path)
    for file, value in ((first, 3_500_000), (second, 5_500_000), (core, 9_000_000), (psys, 999)):
        file.write_text(f"{value}\n")
    energy = meter.read()
    assert energy.joules == 3.0
    assert "whole processor" in energy.note


def test_a_counter_that_starts_anew_is_seen(tmp_path: Path) -> None:
    file = domain(tmp_path, "intel-rapl:0", "package-0", 262_142_000_000)
    meter = EnergyMeter(tmp_path)
    file.write_text("671150\n")
    assert meter.read().joules == 2.0


def test_a_machine_that_tells_nothing_is_said_so(tmp_path: Path) -> None:
    energy = EnergyMeter(tmp_path / "none").read()
    assert energy.joules is None
    assert "no RAPL counters" in energy.note
    file = domain(tmp_path, "intel-rapl:0", "package-0", 1)
    file.unlink()
    file.mkdir()  # cannot be read, as for who is not root
    energy = EnergyMeter(tmp_path).read()
    assert energy.joules is None
    assert "root" in energy.note

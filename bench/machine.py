"""The machine that a figure was measured on: without it, milliseconds say nothing."""

import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Machine:
    """What decides how fast the networks run, and what they ran under."""

    cpu: str
    """Model name as the system tells it."""
    cores: int
    """Physical cores."""
    usable_threads: int
    """Hardware threads that this process may use."""
    memory_gb: float
    """10^9 bytes."""
    system: str
    python: str

    def __str__(self) -> str:
        return (
            f"{self.cpu}, {self.cores} cores ({self.usable_threads} threads usable), "
            f"{self.memory_gb:.0f} GB, {self.system}, Python {self.python}"
        )


def this_machine() -> Machine:
    """Facts of the machine that runs this."""
    threads = os.cpu_count() or 1
    if sys.platform == "linux":
        threads = len(os.sched_getaffinity(0))
    return Machine(
        cpu=cpu_model(),
        cores=psutil.cpu_count(logical=False) or os.cpu_count() or 1,
        usable_threads=threads,
        memory_gb=psutil.virtual_memory().total / 1e9,
        system=platform.platform(terse=True),
        python=platform.python_version(),
    )


def process_age_s() -> float:
    """Seconds since the system started this process: what came before the first line of Python is
    in it. To a hundredth."""
    if sys.platform == "linux":
        # psutil's creation time hangs on the system's start, which Linux tells in whole seconds.
        fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        started_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started_s
    return time.time() - psutil.Process().create_time()


def peak_memory_mb() -> float:
    """Largest resident memory of this process until now, megabytes (10^6 bytes)."""
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 1e6
    if sys.platform == "linux":
        # Not getrusage: its peak is inherited from the program that started this one.
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name for people; the bare architecture where the system tells none."""
    name = ""
    if sys.platform == "win32":
        import winreg

        where = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, where) as key:
            name = str(winreg.QueryValueEx(key, "ProcessorNameString")[0])
    elif sys.platform == "darwin":
        asked = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        name = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    elif cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key_name, _, value = line.partition(":")
            if key_name.strip() in ("model name", "Model", "cpu model"):
                name = value
                break
    return name.strip() or platform.machine() or "unknown processor"

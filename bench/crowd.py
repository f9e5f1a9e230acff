"""``python -m bench.crowd avatars 4``: what many avatars, or many streams at once, cost.

Prints JSON. Memory is half of the question, so each number is measured in a process of its own that
imports nothing else.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench.latency import measure_pipeline
from bench.machine import this_machine
from config.errors import EngineError, PuppetcamError
from config.schema import Settings, load_settings
from realtime.assembly import SHIPPED, assemble
from realtime.loop import Loop, drawn_pictures


@dataclass(frozen=True, slots=True)
class AvatarCost:
    """So many avatars at hand, of which one is shown."""

    avatars: int
    start_s: float
    """From nothing to an engine and avatars that are ready."""
    memory_mb: float
    """Resident, then."""
    change_ms: float
    """Encoding another one."""
    step_ms: float
    """Keypoints and generate."""


@dataclass(frozen=True, slots=True)
class StreamCost:
    """So many cameras of 30 fps, each with an avatar of its own, in one process."""

    streams: int
    threads_each: int
    fps_each: float
    """The mean over streams of the rate delivered."""
    age_p50_ms: float
    """Of the worst stream."""
    memory_mb: float


def measure_avatars(settings: Settings, count: int) -> AvatarCost:
    """The shipped pictures, again and again."""
    shipped = sorted(SHIPPED.glob("*.png"))
    pictures = [shipped[number % len(shipped)] for number in range(count)]
    began = time.perf_counter()
    with assemble(settings, pictures) as assembly:
        start_s = time.perf_counter() - began
        memory_mb = psutil.Process().memory_info().rss / 1e6
        engine, avatars = assembly.engine, assembly.avatars
        changes, steps = [], []
        own = engine.set_avatar(avatars[0].image)
        for number in range(5):
            start = time.perf_counter()
            own = engine.set_avatar(avatars[number % count].image)
            changes.append(time.perf_counter() - start)
        side = engine.bundle.keypoint_size
        driving = np.zeros((side, side, 3), np.uint8)
        for _ in range(15):
            start = time.perf_counter()
            engine.keypoints(driving)
            engine.generate(own)
            steps.append(time.perf_counter() - start)
    change_ms, step_ms = (1000 * float(np.median(one)) for one in (changes, steps))
    return AvatarCost(count, start_s, memory_mb, change_ms, step_ms)


def measure_streams(settings: Settings, count: int, seconds: float) -> StreamCost:
    """``seconds`` of all at once, each in threads of its own."""
    threads = max(1, this_machine().usable_threads // count)
    settings = replace(settings, engine=replace(settings.engine, threads=threads))
    pictures = drawn_pictures()
    rates: list[float] = []
    ages: list[float] = []
    together = threading.Barrier(count)

    def stream() -> None:
        with assemble(settings, [sorted(SHIPPED.glob("*.png"))[0]]) as assembly:
            together.wait()
            times, _ = measure_pipeline(
                assembly.puppeteer, lambda: Loop(pictures), settings, seconds
            )
            rates.append(times.summary.fps)
            ages.append(times.summary.age.p50_ms)

    workers = [threading.Thread(target=stream) for _ in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    memory_mb = psutil.Process().memory_info().rss / 1e6
    return StreamCost(count, threads, float(np.mean(rates)), max(ages), memory_mb)


def in_a_process(what: str, count: int, seconds: float) -> dict[str, Any]:
    """The figures of ``python -m bench.crowd``. Raises EngineError."""
    command = [sys.executable, "-m", "bench.crowd", what, str(count), "--seconds", f"{seconds:g}"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1]
    )
    if done.returncode:
        reason = done.stderr.strip().rsplit("\n", 1)[-1]
        raise EngineError(f"{count} {what} could not be measured: {reason}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main(argv: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.crowd", description=__doc__)
    parser.add_argument("what", choices=("avatars", "streams"))
    parser.add_argument("count", type=int, help="1 to 64")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="N", help="of the streams")
    parser.add_argument("settings", nargs="*", metavar="group.key=value")
    arguments = parser.parse_args(argv)
    if not 1 <= arguments.count <= 64:
        parser.error(f"count must be from 1 to 64, found {arguments.count}")
    try:
        settings = load_settings(overrides=arguments.settings)
        found: AvatarCost | StreamCost
        if arguments.what == "avatars":
            found = measure_avatars(settings, arguments.count)
        else:
            found = measure_streams(settings, arguments.count, arguments.seconds)
    except PuppetcamError as error:
        print(f"bench.crowd: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(asdict(found)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""How cost grows: with the number of keypoints, the size of the picture, threads, avatars, streams.

The networks of other sizes have drawn weights (times do not depend on them) and run in ONNX Runtime
in fp32.
"""

import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import torch

from bench.latency import measure_pipeline
from bench.machine import this_machine
from bench.roofline import example_feeds, session_of
from config.network import NetworkConfig
from config.schema import Settings
from export.graphs import Model, graphs_of
from export.onnx import write_onnx
from models.bundle import Bundle
from realtime.assembly import SHIPPED, assemble
from realtime.loop import Loop, drawn_pictures

SIZES = (128, 256, 384, 512)
KEYPOINTS = (5, 10, 20, 40)
AVATARS = (1, 4, 16)
STREAMS = (1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class GraphTimes:
    """One network, median milliseconds of each graph."""

    size: int
    num_keypoints: int
    threads: int
    avatar_ms: float
    keypoints_ms: float
    frame_ms: float


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


def time_network(
    model_of: Callable[[NetworkConfig], Model],
    config: NetworkConfig,
    threads: int,
    seconds: float,
) -> GraphTimes:
    """Write the graphs of a network and time each for a third of ``seconds``."""
    model = model_of(config)
    picture = torch.rand(1, 3, config.size, config.size)
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for graph in graphs_of(model, picture, picture):
            path = Path(folder, f"{graph.name}.onnx")
            write_onnx(graph, path)
            found[graph.name] = time_graph(path, threads, seconds / 3)
    return GraphTimes(
        config.size, config.num_keypoints, threads, found["avatar"], found["keypoints"],
        found["frame"],
    )  # fmt: skip


def time_bundle(bundle: Bundle, threads: int, seconds: float) -> GraphTimes:
    """The graphs of an ONNX bundle, each for a third of ``seconds``."""
    times = [
        time_graph(bundle.graph(name), threads, seconds / 3)
        for name in ("avatar", "keypoints", "frame")
    ]
    return GraphTimes(bundle.size, bundle.num_keypoints, threads, *times)


def time_graph(path: Path, threads: int, seconds: float) -> float:
    """Median milliseconds in ONNX Runtime, of three runs or more after two that do not count."""
    session = session_of(path, threads)
    feeds = example_feeds(session)
    for _ in range(2):
        session.run(None, feeds)
    times: list[float] = []
    ends_at = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < ends_at:
        start = time.perf_counter()
        session.run(None, feeds)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def measure_avatars(settings: Settings, count: int) -> AvatarCost:
    """In a process of its own: memory is all that it is about."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        return pool.submit(_avatars, settings, count).result()


def measure_streams(settings: Settings, count: int, seconds: float) -> StreamCost:
    """In a process of its own."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        return pool.submit(_streams, settings, count, seconds).result()


def _avatars(settings: Settings, count: int) -> AvatarCost:
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


def _streams(settings: Settings, count: int, seconds: float) -> StreamCost:
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


def thread_counts(usable: int) -> Sequence[int]:
    """1, 2, 4 ... up to what there is, that itself too."""
    counts = [2**power for power in range(9) if 2**power <= usable]
    return counts if usable in counts else [*counts, usable]

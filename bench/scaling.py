"""How cost grows with the number of keypoints, the size of the picture, and threads.

The networks of other sizes have drawn weights (times do not depend on them) and run in ONNX Runtime
in fp32.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench.roofline import example_feeds, session_of
from config.network import NetworkConfig
from export.graphs import Model, graphs_of
from export.onnx import write_onnx
from models.bundle import Bundle

SIZES = (128, 256, 384, 512)
KEYPOINTS = (5, 10, 20, 40)


@dataclass(frozen=True, slots=True)
class GraphTimes:
    """One network, median milliseconds of each graph."""

    size: int
    num_keypoints: int
    threads: int
    avatar_ms: float
    keypoints_ms: float
    frame_ms: float


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


def thread_counts(usable: int) -> Sequence[int]:
    """1, 2, 4 ... up to what there is, that itself too."""
    counts = [2**power for power in range(9) if 2**power <= usable]
    return counts if usable in counts else [*counts, usable]

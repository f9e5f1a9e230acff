"""How near to what this machine can do at most the networks run, part by part.

The peaks are measured in the same run: a large convolution and a large matrix product in fp32 and
in 8-bit integers, and a large copy. Where a time is below its limit, the caches did what the limit
leaves to memory.
"""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.cost import Limits, heavy_nodes, limit_s, stage_of
from models.bundle import Bundle

SIDE = 1536
"""Of the square matrices."""
CHANNELS, PICTURE = 256, 64
"""Of the convolution, 3x3: as in the networks."""
COPY_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Peak:
    """The most that was measured."""

    threads: int
    fp32_gmacs: float
    """10^9 multiplications with an addition, per second."""
    int8_gmacs: float
    copy_gb_s: float
    """10^9 bytes read and written per second."""

    @property
    def limits(self) -> Limits:
        """In plain units."""
        return Limits(self.fp32_gmacs * 1e9, self.int8_gmacs * 1e9, self.copy_gb_s * 1e9)


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of one graph."""

    graph: str
    stage: str
    """"all": the graph as a whole."""
    gmac: float
    megabytes: float
    ms: float
    """Measured: of a part, the sum of its nodes' times as the runtime's profile has them."""
    limit_ms: float

    @property
    def share(self) -> float:
        """Of the limit, 0..1."""
        return self.limit_ms / self.ms if self.ms else 0.0


def measure_peak(threads: int, seconds: float = 1.0, scale: float = 1.0) -> Peak:
    """About 5 x ``seconds``. ``scale`` makes the work smaller, for tests."""
    side, picture = max(16, int(SIDE * scale)), max(8, int(PICTURE * scale))
    random = np.random.default_rng(0)

    def rate(model: Any, feeds: dict[str, NDArray[Any]], macs: int) -> float:
        session = session_of(model.SerializeToString(), threads)
        return macs / _best(lambda: session.run(None, feeds), seconds)

    square = random.normal(size=(side, side)).astype(np.float32)
    planes = random.normal(size=(1, CHANNELS, picture, picture)).astype(np.float32)
    kernel = random.normal(size=(CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
    product_macs, convolution_macs = side**3, CHANNELS**2 * 9 * picture**2
    fp32 = [
        rate(_product(square, integers=False), {"x": square}, product_macs),
        rate(_convolution(kernel, planes.shape, integers=False), {"x": planes}, convolution_macs),
    ]
    levels = random.integers(0, 256, square.shape, np.uint8)
    whole = random.integers(0, 256, planes.shape, np.uint8)
    int8 = [
        rate(_product(square, integers=True), {"x": levels}, product_macs),
        rate(_convolution(kernel, planes.shape, integers=True), {"x": whole}, convolution_macs),
    ]
    return Peak(threads, max(fp32) / 1e9, max(int8) / 1e9, _copy_rate(threads, seconds, scale))


def measure_stages(bundle: Bundle, peak: Peak, runs: int = 20) -> list[Stage]:
    """Each graph of an ONNX bundle in ONNX Runtime, and its parts."""
    found = []
    for graph in ("keypoints", "avatar", "frame"):
        path = bundle.graph(graph)
        nodes = heavy_nodes(path)
        whole_ms, parts_ms = _times(path, peak.threads, runs)

        def of(stage: str, ms: float, graph: str = graph, nodes: Any = nodes) -> Stage:
            own = [node for node in nodes if stage in ("all", node.stage)]
            return Stage(
                graph,
                stage,
                sum(node.macs for node in own) / 1e9,
                sum(node.bytes for node in own) / 1e6,
                ms,
                1000 * limit_s(own, peak.limits),
            )

        found.append(of("all", whole_ms))
        if graph == "frame":
            stages = dict.fromkeys(node.stage for node in nodes)
            found += [of(stage, parts_ms.get(stage, 0.0)) for stage in stages]
    return found


def session_of(model: bytes | Path, threads: int, profile: Path | None = None) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def example_feeds(session: Any) -> dict[str, NDArray[np.float32]]:
    """Something of the right shapes: identities where a jacobian is asked for."""
    random = np.random.default_rng(0)
    feeds = {}
    for one in session.get_inputs():
        array = random.uniform(0, 1, one.shape).astype(np.float32)
        if one.name.endswith("jacobian"):
            array[:] = np.eye(2)
        feeds[one.name] = array
    return feeds


def _times(path: Path, threads: int, runs: int) -> tuple[float, dict[str, float]]:
    """Median milliseconds of the graph, and mean ones of its stages from the runtime's profile."""
    session = session_of(path, threads)
    feeds = example_feeds(session)
    times = []
    for _ in range(runs + 3):
        start = time.perf_counter()
        session.run(None, feeds)
        times.append(time.perf_counter() - start)
    parts: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        session = session_of(path, threads, Path(scratch, "profile"))
        for _ in range(runs + 3):
            session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    for event in events:
        name = event.get("name", "")
        if event.get("cat") == "Node" and name.endswith("_kernel_time"):
            stage = stage_of(name.removesuffix("_kernel_time"))
            parts[stage] = parts.get(stage, 0.0) + event["dur"] / 1000 / (runs + 3)
    return 1000 * float(np.median(times[3:])), parts


def _best(run: Callable[[], object], seconds: float) -> float:
    """The shortest time of ``run``: a peak is what was reached once."""
    run()
    best, ends_at = float("inf"), time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        run()
        now = time.perf_counter()
        best = min(best, now - start)
        if now >= ends_at:
            return best


def _copy_rate(threads: int, seconds: float, scale: float) -> float:
    """10^9 bytes per second, read and written."""
    import torch

    count = max(1024, int(COPY_BYTES * scale / 4))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        source, target = torch.ones(count), torch.empty(count)
        best = _best(lambda: target.copy_(source), seconds)
    finally:
        torch.set_num_threads(before)
    return 2 * 4 * count / best / 1e9


def _product(square: NDArray[np.float32], integers: bool) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    weight = square.clip(-3, 3) * 40 if integers else square
    weight = weight.astype(np.int8 if integers else np.float32)
    node = helper.make_node("MatMulInteger" if integers else "MatMul", ["x", "w"], ["y"])
    taken, given = (TensorProto.UINT8, TensorProto.INT32) if integers else (TensorProto.FLOAT,) * 2
    return _model([node], square.shape, taken, given, [numpy_helper.from_array(weight, "w")])


def _convolution(kernel: NDArray[np.float32], shape: tuple[int, ...], integers: bool) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    window: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    if not integers:
        node = helper.make_node("Conv", ["x", "w"], ["y"], **window)
        weights = [numpy_helper.from_array(kernel, "w")]
        return _model([node], shape, TensorProto.FLOAT, TensorProto.FLOAT, weights)
    names = ["x", "one", "middle", "w", "one", "zero", "wide", "middle"]
    node = helper.make_node("QLinearConv", names, ["y"], **window)
    weights = [
        numpy_helper.from_array(one, name)
        for name, one in (
            ("one", np.array(0.02, np.float32)),
            ("wide", np.array(1.0, np.float32)),
            ("middle", np.array(128, np.uint8)),
            ("zero", np.array(0, np.int8)),
            ("w", (kernel.clip(-3, 3) * 20).astype(np.int8)),
        )
    ]
    return _model([node], shape, TensorProto.UINT8, TensorProto.UINT8, weights)


def _model(
    nodes: list[Any], shape: tuple[int, ...], taken: int, given: int, weights: list[Any]
) -> Any:
    from onnx import helper

    graph = helper.make_graph(
        nodes,
        "peak",
        [helper.make_tensor_value_info("x", taken, shape)],
        [helper.make_tensor_value_info("y", given, shape)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

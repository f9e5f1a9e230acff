"""Proof of placement: the device that each node of the networks really ran on.

Read from the runtimes' own profiles of a run, not from what was asked of them: a node that has no
kernel on a card falls to the CPU, and its tensors travel there and back in each frame.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from config.schema import EngineSettings
from models.bundle import Bundle
from realtime.engine import Engine

EACH_FRAME = ("keypoints", "frame")
HEAVY = 0.8
"""Heavy nodes are the fewest that together take this part of a graph's time."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A node that ran."""

    graph: str
    operator: str
    """In the runtime's words."""
    device: str
    """"CPU", "CUDA", "Tensorrt"."""
    ms: float


def placement(engine: Engine) -> list[Placed]:
    """All nodes of the graphs that run each frame, as this engine runs them. Takes about as long as
    opening it. Raises EngineError."""
    runtime = engine.provider.split()[0]
    return [
        Placed(graph, operator, device, ms)
        for graph in EACH_FRAME
        for operator, device, ms in _profile(runtime, engine.bundle, graph, engine.settings)
    ]


def heavy(placed: Sequence[Placed]) -> Iterator[Placed]:
    """Those that the time goes into, slowest first, graph by graph."""
    for graph in dict.fromkeys(one.graph for one in placed):
        own = sorted((one for one in placed if one.graph == graph), key=lambda one: -one.ms)
        left = HEAVY * sum(one.ms for one in own)
        for one in own:
            if left <= 0:
                break
            left -= one.ms
            yield one


def summary(placed: Sequence[Placed]) -> str:
    """One line: what the heavy nodes are and where they ran."""
    groups: dict[tuple[str, str], Counter[str]] = {}
    for one in heavy(placed):
        groups.setdefault((one.graph, one.device), Counter())[one.operator] += 1
    return "; ".join(
        f"{graph} on {device}: " + ", ".join(f"{n} {name}" for name, n in counts.most_common())
        for (graph, device), counts in groups.items()
    )


def fallen(placed: Sequence[Placed], engine: Engine) -> list[Placed]:
    """Heavy nodes that ran on the CPU although the engine runs on a card."""
    if engine.provider.endswith("CPU"):
        return []
    return [one for one in heavy(placed) if one.device == "CPU"]


def _profile(
    runtime: str, bundle: Bundle, graph: str, settings: EngineSettings
) -> list[tuple[str, str, float]]:
    path = bundle.graph(graph)
    match runtime:
        case "openvino":
            from realtime import openvino_engine

            return openvino_engine.profiled(path, settings)
        case "torchscript":
            from realtime.torchscript_engine import TorchScriptEngine

            with closing(TorchScriptEngine(bundle, settings)) as engine:
                return engine.profiled(graph)
        case _:
            from realtime import onnx_session

            return onnx_session.profiled(path, settings)

"""One ONNX graph in a lower precision: int8 (static, QDQ) or fp16. The rest of it stays fp32.

Which convolutions are lowered is told by the names that are not: motion hangs on a few layers, and
grids, softmax and sampling are no convolutions. What it does to a picture is not known here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime import InferenceSession
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from config.errors import ExportError

CARRIED = ("Relu", "Resize", "Add", "Concat", "AveragePool")
"""What follows a convolution and stays in its precision: a change there and back would cost more
than it saves."""
RARE = 0.0003
"""Share of a tensor's values beyond either end of what is common. Chosen on pictures held out."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What of a graph is lowered."""

    keep: Sequence[str]
    """Starts of the names of nodes that stay fp32."""
    within: Mapping[str, float] = field(default_factory=dict)
    """Node -> limit of what comes out of it in int8, where values beyond it mean the same: logits
    of a colour that is white already. The steps between fewer values are smaller."""
    common: Sequence[str] = ()
    """Starts of the names of nodes whose rarest values are cut off in int8 (``RARE``): the steps
    between the others are smaller. Not for maps that are nothing but in a few places."""
    least_psnr_db: float = 0.0
    """Of the worst picture against fp32, beyond what is asked of all recipes."""


def to_int8(source: Path, target: Path, feeds: Sequence[Mapping[str, Any]], recipe: Recipe) -> None:
    """Write ``source`` with its convolutions in int8 to ``target``; ``feeds`` show the ranges of
    activations.

    Weights: int8 per channel; activations: uint8. Raises ExportError where the recipe names what is
    not there, or leaves nothing.
    """
    ready = target.with_suffix(".ready.onnx")
    # Fixed shapes and folded constants, which the quantiser wants to see. The symbolic inference
    # is for shapes that are not fixed.
    quant_pre_process(source, ready, skip_symbolic_shape=True)
    graph = onnx.load(ready).graph
    lowered = _lowered(graph, recipe, source)
    common = [
        node.output[0]
        for node in graph.node
        if node.name in lowered and node.name.startswith(tuple(recipe.common))
    ]
    ranges = _common_ranges(ready, common, feeds) | {
        node.output[0]: (-limit, limit)
        for name, limit in recipe.within.items()
        for node in graph.node
        if node.name == name
    }
    overrides = {
        name: [{"rmin": np.float32(least), "rmax": np.float32(most)}]
        for name, (least, most) in ranges.items()
    }
    quantize_static(
        ready,
        target,
        _Reader(feeds),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv", *CARRIED],
        nodes_to_quantize=sorted(lowered),
        per_channel=True,
        # uint8 and int8 have a fast path on every x86 processor; int8 and int8 have none.
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        # Weights of 7 bits: without VNNI, sums of 8-bit products overflow the processor's 16 bits.
        reduce_range=True,
        extra_options={"TensorQuantOverrides": overrides},
    )
    ready.unlink()


def _common_ranges(
    source: Path, tensors: Sequence[str], feeds: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[float, float]]:
    """Between which values all but the ``RARE`` ones of each tensor lie, 0 among them."""
    if not tensors:
        return {}
    model = onnx.load(source)
    known = {one.name for one in model.graph.output}
    empty = (helper.make_empty_tensor_value_info(name) for name in tensors if name not in known)
    model.graph.output.extend(empty)
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    seen: dict[str, list[Any]] = {name: [] for name in tensors}
    for feed in feeds:
        for name, values in zip(tensors, session.run(list(tensors), feed), strict=True):
            seen[name].append(np.quantile(values, (RARE, 1 - RARE)))
    ends = {name: np.mean(both, axis=0) for name, both in seen.items()}
    return {
        name: (min(0.0, float(low)), max(0.0, float(high))) for name, (low, high) in ends.items()
    }


def to_fp16(source: Path, target: Path, recipe: Recipe) -> None:
    """Write ``source`` with its convolutions in fp16 to ``target``. Inputs and outputs stay fp32.
    Raises ExportError like ``to_int8``."""
    model = onnx.load(source)
    graph = model.graph
    lowered = _lowered(graph, recipe, source)
    weights = {one.name: one for one in graph.initializer}
    halves: set[str] = set()
    nodes: list[Any] = []

    def cast(name: str, kind: int, output: str) -> None:
        nodes.append(helper.make_node("Cast", [name], [output], f"{output}/cast", to=kind))

    def half(name: str) -> str:
        """The name of this tensor in fp16, made where it is not there yet."""
        if name not in halves:
            halves.add(name)
            if name in weights:
                values = numpy_helper.to_array(weights[name]).astype(np.float16)
                graph.initializer.append(numpy_helper.from_array(values, f"{name}/half"))
            else:
                cast(name, onnx.TensorProto.FLOAT16, f"{name}/half")
        return f"{name}/half"

    needed = {name for node in graph.node if node.name not in lowered for name in node.input}
    needed |= {one.name for one in graph.output}
    for node in graph.node:
        if node.name not in lowered:
            nodes.append(node)
            continue
        # A Resize keeps its scales as they are.
        count = 1 if node.op_type == "Resize" else len(node.input)
        node.input[:count] = [half(name) for name in node.input[:count]]
        nodes.append(node)
        output = node.output[0]
        node.output[0] = f"{output}/half"
        halves.add(output)
        if output in needed:
            cast(node.output[0], onnx.TensorProto.FLOAT, output)
    read = {name for node in nodes for name in node.input}
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    for one in [one for one in graph.initializer if one.name not in read]:
        graph.initializer.remove(one)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands feeds to onnxruntime, one by one."""

    def __init__(self, feeds: Sequence[Mapping[str, Any]]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Mapping[str, Any] | None:
        """The next feed; None at the end."""
        return next(self._feeds, None)


def _lowered(graph: Any, recipe: Recipe, source: Path) -> set[str]:
    """Names of the convolutions that may be lowered, and of what only hands on what they give."""
    for start in (*recipe.keep, *recipe.common):
        # Another exporter may name nodes otherwise: then motion would be lowered unsaid.
        if not any(node.name.startswith(start) for node in graph.node):
            raise ExportError(
                f"{source} has no nodes named {start}...; export the checkpoint again"
            )
    free = [node for node in graph.node if not node.name.startswith(tuple(recipe.keep))]
    lowered = {node.name for node in free if node.op_type == "Conv"}
    if not lowered:
        raise ExportError(f"{source} has no convolution that may be lowered")
    made_by = {output: node.name for node in graph.node for output in node.output}
    constants = {one.name for one in graph.initializer}
    for node in free:  # sorted: makers come first
        if node.op_type not in CARRIED:
            continue
        if node.op_type == "Resize" and not _repeats(node):
            continue
        inputs = node.input[:1] if node.op_type == "Resize" else node.input
        if all(made_by.get(name) in lowered or name in constants for name in inputs):
            lowered.add(node.name)
    return lowered


def _repeats(resize: Any) -> bool:
    return any(one.name == "mode" and one.s == b"nearest" for one in resize.attribute)

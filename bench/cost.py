"""What an ONNX graph asks of a machine: multiplications and bytes, node by node.

Counted are convolutions, matrix products and grid samples, nearly all of the time. Bytes are each
one's inputs, weights and outputs, once: a runtime that keeps them in its caches moves fewer.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ONE_OF_MANY = re.compile(r"[._]?\d+$")


@dataclass(frozen=True, slots=True)
class Node:
    """One heavy node."""

    stage: str
    """Part of the network, from the node's name, e.g. "motion"."""
    operation: str
    macs: int
    """Multiplications with an addition each."""
    bytes: int
    int8: bool
    """The arithmetic is of 8-bit integers."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a machine gave in the same run."""

    fp32_macs: float
    """Per second."""
    int8_macs: float
    bytes_: float
    """Per second, of memory."""


def heavy_nodes(path: Path) -> list[Node]:
    """Those of a graph with fixed shapes."""
    import onnx
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(onnx.load(path), data_prop=True).graph
    shapes: dict[str, list[int]] = {}
    sizes: dict[str, int] = {}
    for value in (*graph.input, *graph.output, *graph.value_info):
        tensor = value.type.tensor_type
        shapes[value.name] = [dimension.dim_value for dimension in tensor.shape.dim]
        sizes[value.name] = _bytes_of(tensor.elem_type)
    for weight in graph.initializer:
        shapes[weight.name] = list(weight.dims)
        sizes[weight.name] = _bytes_of(weight.data_type)
    makers = {name: node for node in graph.node for name in node.output}
    takers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            takers.setdefault(name, []).append(node)
    found = []
    for node in graph.node:
        if node.op_type not in ("Conv", "MatMul", "Gemm", "GridSample"):
            continue
        int8 = _made_by(makers, node.input[0], "DequantizeLinear")
        total = 0
        for name in (*node.input, *node.output):
            # Between a pair of quantisers a tensor has one byte an element in any runtime.
            integers = _made_by(makers, name, "DequantizeLinear") or any(
                taker.op_type == "QuantizeLinear" for taker in takers.get(name, ())
            )
            total += math.prod(shapes[name]) * (1 if integers else sizes[name]) if name else 0
        found.append(Node(stage_of(node.name), node.op_type, _macs(node, shapes), total, int8))
    return found


def stage_of(name: str) -> str:
    """``/painter/paint/paint.0/Conv`` -> ``painter``; ``/generator/up_blocks.1/conv/Conv`` ->
    ``up_blocks``: the generator of the published networks is nearly all there is."""
    parts = [part for part in name.split("/") if part]
    if len(parts) > 2 and parts[0] in ("generator", "kp_detector"):
        parts = parts[1:]
    return _ONE_OF_MANY.sub("", parts[0]) if len(parts) > 1 else "other"


def limit_s(nodes: Iterable[Node], limits: Limits) -> float:
    """Seconds that no way to run these nodes, one by one, can go below: each takes at least as
    long as its arithmetic at the peak, and as its bytes."""
    total = 0.0
    for node in nodes:
        peak = limits.int8_macs if node.int8 else limits.fp32_macs
        total += max(node.macs / peak, node.bytes / limits.bytes_)
    return total


def _macs(node: Any, shapes: Mapping[str, list[int]]) -> int:
    outputs = math.prod(shapes[node.output[0]])
    match node.op_type:
        case "Conv":
            _, inputs, *kernel = shapes[node.input[1]]  # inputs: of one group
            return outputs * inputs * math.prod(kernel)
        case "GridSample":
            return 4 * outputs  # bilinear
        case "Gemm":
            turned = any(one.name == "transA" and one.i for one in node.attribute)
            return outputs * shapes[node.input[0]][0 if turned else 1]
    return outputs * shapes[node.input[0]][-1]


def _made_by(makers: Mapping[str, Any], name: str, operation: str) -> bool:
    return name in makers and makers[name].op_type == operation


def _bytes_of(element: int) -> int:
    import onnx

    return int(onnx.helper.tensor_dtype_to_np_dtype(element).itemsize)

"""A graph to an ONNX file."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from export.graphs import Graph, tracing

OPSET = 17
"""GridSample came with 16; ONNX Runtime has known 17 since 1.13."""

BLOCK = 16
"""Channels that ONNX Runtime's fast convolution takes at a time. It leaves a convolution of another
number of inputs to one that takes half as long again."""


def write_onnx(graph: Graph, path: Path) -> None:
    """Write ``graph`` to ``path``, batch normalisation folded into the convolutions.

    Raises torch.onnx.errors.OnnxExporterError (a RuntimeError) for what ONNX cannot say, and
    onnx.checker.ValidationError for a graph that is not valid.
    """
    with tracing():
        torch.onnx.export(
            graph.module,
            tuple(graph.inputs.values()),
            path,
            opset_version=OPSET,
            dynamo=False,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
        )
    model = onnx.load(path)
    _fill_blocks(model.graph)
    onnx.save(model, path)
    onnx.checker.check_model(path, full_check=True)


def _fill_blocks(graph: Any) -> None:
    """Joined channels on their way into convolutions get zeros, and these weights of zero, up to
    whole blocks: the result is the same."""
    weights = {one.name: one for one in graph.initializer}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    shapes = {
        one.name: [size.dim_value for size in one.type.tensor_type.shape.dim]
        for one in onnx.shape_inference.infer_shapes(onnx.helper.make_model(graph)).graph.value_info
    }
    for node in graph.node:
        found = readers.get(node.output[0], [])
        plain = [
            one.op_type == "Conv" and one.input[1] in weights and not _grouped(one) for one in found
        ]
        if node.op_type != "Concat" or not found or not all(plain):
            continue
        channels, height, width = shapes[node.output[0]][1:]
        missing = -channels % BLOCK
        if channels < BLOCK or not missing:
            continue
        zeros = np.zeros((1, missing, height, width), np.float32)
        filling = numpy_helper.from_array(zeros, f"{node.name}/filling")
        graph.initializer.append(filling)
        node.input.append(filling.name)
        for name in {one.input[1] for one in found}:
            values = numpy_helper.to_array(weights[name])
            wider = np.pad(values, ((0, 0), (0, missing), (0, 0), (0, 0)))
            weights[name].CopyFrom(numpy_helper.from_array(wider, name))
    del graph.value_info[:]


def _grouped(node: Any) -> bool:
    return any(one.name == "group" and one.i != 1 for one in node.attribute)

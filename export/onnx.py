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

PIXELS = 2
"""Side of the blocks of pixels that a convolution to a few channels makes at once."""
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
    _widen_to_blocks(model.graph)
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
    model = onnx.helper.make_model(graph)
    shapes = {
        one.name: [size.dim_value for size in one.type.tensor_type.shape.dim]
        for one in onnx.shape_inference.infer_shapes(model, data_prop=True).graph.value_info
    }
    for node in graph.node:
        found = readers.get(node.output[0], [])
        plain = [
            one.op_type == "Conv" and one.input[1] in weights and not _grouped(one) for one in found
        ]
        if node.op_type != "Concat" or not found or not all(plain):
            continue
        count, channels, height, width = shapes[node.output[0]]
        missing = -channels % BLOCK
        if channels < BLOCK or not missing:
            continue
        zeros = np.zeros((count, missing, height, width), np.float32)
        filling = numpy_helper.from_array(zeros, f"{node.name}/filling")
        graph.initializer.append(filling)
        node.input.append(filling.name)
        for name in {one.input[1] for one in found}:
            values = numpy_helper.to_array(weights[name])
            wider = np.pad(values, ((0, 0), (0, missing), (0, 0), (0, 0)))
            weights[name].CopyFrom(numpy_helper.from_array(wider, name))
    del graph.value_info[:]


def _widen_to_blocks(graph: Any) -> None:
    """A convolution to a picture's channels computes whole blocks of pixels, at half its input's
    rate: the same sums, and no longer 16 channels of which 3 are wanted."""
    weights = {one.name: one for one in graph.initializer}
    nodes = []
    for node in graph.node:
        nodes.append(node)
        if node.op_type != "Conv" or len(node.input) < 3 or node.input[1] not in weights:
            continue
        kernel = numpy_helper.to_array(weights[node.input[1]])
        outputs, inputs, side = kernel.shape[:3]
        same = {"pads": [side // 2] * 4, "strides": [1, 1], "dilations": [1, 1], "group": 1}
        found = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        if outputs > BLOCK // PIXELS**2 or inputs <= outputs or side < 3 or side % 2 == 0:
            continue
        if any(found.get(name) != value for name, value in same.items()):
            continue
        wide = np.zeros((PIXELS, PIXELS, outputs, inputs, side + 1, side + 1), np.float32)
        for down in range(PIXELS):
            for right in range(PIXELS):
                wide[down, right, :, :, down : down + side, right : right + side] = kernel
        bias = np.tile(numpy_helper.to_array(weights[node.input[2]]), PIXELS**2)
        output = node.output[0]
        for index, values in ((1, wide.reshape(-1, *wide.shape[3:])), (2, bias)):
            one = numpy_helper.from_array(values, f"{node.input[index]}/blocks")
            graph.initializer.append(one)
            graph.initializer.remove(weights[node.input[index]])
            node.input[index] = one.name
        node.output[0] = f"{output}/blocks"
        del node.attribute[:]
        sides = {"kernel_shape": [side + 1] * 2, "strides": [PIXELS] * 2}
        node.attribute.extend(
            onnx.helper.make_attribute(name, value) for name, value in (same | sides).items()
        )
        nodes.append(
            onnx.helper.make_node(
                "DepthToSpace",
                [node.output[0]],
                [output],
                f"{node.name}/pixels",
                blocksize=PIXELS,
                mode="DCR",
            )
        )
    del graph.node[:]
    graph.node.extend(nodes)


def _grouped(node: Any) -> bool:
    return any(one.name == "group" and one.i != 1 for one in node.attribute)

"""A graph to an ONNX file."""

from pathlib import Path

import onnx
import torch

from export.graphs import Graph, tracing

OPSET = 17
"""GridSample came with 16; ONNX Runtime has known 17 since 1.13."""


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
    onnx.checker.check_model(path, full_check=True)

"""A graph to a TorchScript file."""

import json
from pathlib import Path

import torch

from export.graphs import Graph, tracing
from realtime.torchscript_engine import INTERFACE


def write_torchscript(graph: Graph, path: Path) -> None:
    """Write ``graph`` to ``path``, traced and frozen, with the names of its inputs and outputs.

    Raises RuntimeError for what TorchScript cannot say.
    """
    interface = {
        "inputs": {name: list(tensor.shape) for name, tensor in graph.inputs.items()},
        "outputs": list(graph.outputs),
    }
    # Stored channels last, convolutions run so: a tenth faster on a processor, and what cards want.
    graph.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with tracing():
        # Not torch's own check, which runs the same pictures again: the comparison at the end of
        # an export runs others.
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            graph.module, tuple(graph.inputs.values()), check_trace=False
        )
        frozen = torch.jit.freeze(traced)
        torch.jit.save(frozen, path, _extra_files={INTERFACE: json.dumps(interface)})

"""A model to a bundle, checked against the model before it appears."""

import copy
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import onnx
import torch

from config.errors import ExportError
from export.agreement import LIMIT
from export.folder import new_bundle
from export.graphs import Model, graphs_of
from export.onnx import OPSET, write_onnx
from export.parity import compare, drawn_face
from export.torchscript import write_torchscript
from models.bundle import (
    GRAPHS,
    Bundle,
    graph_file,
    hashes,
    open_bundle,
    write_manifest,
)
from models.compact import CompactModel

Format = Literal["onnx", "torchscript"]


def export_bundle(
    model: Model,
    output: Path,
    *,
    format: Format = "onnx",
    name: str | None = None,
    licence: str = "not stated",
    origin: str = "not stated",
    report: Callable[[str], object] = print,
) -> Bundle:
    """Write ``model`` as a bundle to the folder ``output`` and return it, opened.

    ``model`` stays as it is; the export works on a copy of it, evaluating, on the CPU. ``name``
    defaults to the folder's. ``report`` gets one line for each output: its largest absolute
    difference and PSNR between model and bundle, on pictures other than those it was traced on.

    ``output`` may be new, empty, or a bundle: its graphs are then replaced, other files in it (a
    model card) stay. Raises ExportError, and leaves ``output`` as it was, where the bundle does not
    agree with the model to ``export.agreement.LIMIT``, or cannot be made or written.
    """
    output = output.expanduser().absolute()
    with new_bundle(output) as folder:
        model = copy.deepcopy(model).cpu().eval().requires_grad_(False)
        _write_graphs(model, folder, format)
        write_manifest(
            Bundle(
                path=folder,
                name=name or output.name,
                family="compact" if isinstance(model, CompactModel) else "first-order",
                format=format,
                precision="fp32",
                size=model.size,
                output_size=model.output_size,
                keypoint_size=model.keypoint_size,
                num_keypoints=model.num_keypoints,
                landmarks=tuple(model.landmarks),
                opset=OPSET if format == "onnx" else None,
                files=hashes(folder, tuple(graph_file(graph, format) for graph in GRAPHS)),
                licence=licence,
                origin=origin,
                versions=_versions(format),
            )
        )
        _check_parity(model, open_bundle(folder), report)
    return open_bundle(output)


def _write_graphs(model: Model, folder: Path, format: Format) -> None:
    write = write_onnx if format == "onnx" else write_torchscript
    # Not the pictures that the outcome is compared on: what tracing has frozen would not show.
    example = [torch.from_numpy(drawn_face(side, 99)) for side in (model.size, model.keypoint_size)]
    for graph in graphs_of(model, *example):
        try:
            write(graph, folder / graph_file(graph.name, format))
        except (RuntimeError, onnx.checker.ValidationError) as error:
            first_line = str(error).strip().split("\n", 1)[0]
            raise ExportError(
                f"the {graph.name} graph cannot be written as {format}: {first_line}"
            ) from error


def _versions(format: Format) -> dict[str, str]:
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    return versions | ({"onnx": onnx.__version__} if format == "onnx" else {})


def _check_parity(model: Model, bundle: Bundle, report: Callable[[str], object]) -> None:
    agreements = compare(model, bundle)
    for agreement in agreements:
        report(str(agreement))
    bad = [one for one in agreements if not one.good]
    if bad:
        worst = ", ".join(f"{one.output} ({one.max_abs:.2e})" for one in bad)
        raise ExportError(
            f"the exported networks do not agree with the model: {worst} differ by more than "
            f"{LIMIT}; no bundle was written"
        )

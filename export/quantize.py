"""An fp32 ONNX bundle to one whose frame graph convolves in int8, measured before it appears.

Low precision harms through the motion, which moves every pixel, and little through the painting
after it. So keypoints, avatar, dense motion and the last layer stay as they are: ``KEEP``.
"""

import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from config.errors import ExportError
from config.schema import EngineSettings
from export.agreement import agreement
from export.calibration import Drive, Person, drives
from export.folder import new_bundle
from models.bundle import Bundle, hashes, open_bundle, write_manifest
from realtime.carry import Carrier
from realtime.frame import Image
from realtime.onnx_engine import OnnxEngine
from realtime.planes import finish

KEEP: Mapping[str, tuple[str, ...]] = {
    "compact": ("/motion/", "/painter/paint/paint.1/"),
    "first-order": ("/generator/dense_motion_network/", "/generator/final/"),
}
"""Of each family, the frame graph's nodes that stay fp32: the starts of their names."""
LEAST_PSNR_DB: Mapping[str, float] = {"compact": 34.0, "first-order": 30.0}
"""Of the worst picture against fp32."""
MOST_MOVED = 0.004
"""Largest change of a displacement: half a pixel at 256, where -1..1 are 255."""
HELD_OUT = 4
"""Every so manieth person is measured with, and not calibrated on."""
SPEED_RUNS = 15


def quantize_bundle(
    bundle: Bundle,
    output: Path,
    people: Sequence[Person],
    *,
    name: str | None = None,
    keep: Sequence[str] | None = None,
    least_psnr_db: float | None = None,
    report: Callable[[str], object] = print,
) -> Bundle:
    """Write ``bundle`` (ONNX, fp32) with an int8 frame graph to the folder ``output``.

    Ranges of activations come from one part of ``people``; the other part is measured (all of
    them are both where there is but one). Weights: int8 per channel; activations: uint8. ``keep``:
    starts of names of nodes that stay fp32, default ``KEEP``; ``name`` defaults to the folder's.
    ``report`` gets a line for each output, for the picture made of them, and for the speed.

    ``output`` may be new, empty, or another bundle to replace. Raises ExportError, and leaves
    ``output`` as it was, for a bundle that is not fp32 ONNX, where a picture of ``people`` falls
    below ``least_psnr_db`` (default ``LEAST_PSNR_DB``), the displacement changes by more than
    ``MOST_MOVED``, or nothing can be written.
    """
    output = output.expanduser().absolute()
    if (bundle.format, bundle.precision) != ("onnx", "fp32"):
        raise ExportError(
            f"int8 is made of an fp32 ONNX bundle, {bundle.path} is {bundle.precision} "
            f"{bundle.format}; export the checkpoint again"
        )
    if output.exists() and output.samefile(bundle.path):
        raise ExportError(f"{output} would replace the bundle it is made of; name another folder")
    least = LEAST_PSNR_DB[bundle.family] if least_psnr_db is None else least_psnr_db
    people = [person for person in people if len(person) > 1]
    if not people:
        raise ExportError("calibration needs two or more pictures of one person; found none")
    measured = people[::HELD_OUT]
    calibrated = [one for number, one in enumerate(people) if number % HELD_OUT] or people
    with new_bundle(output) as folder, ExitStack() as opened:
        engine = opened.enter_context(closing(_engine(bundle)))
        feeds = [one.feeds for one in drives(engine, calibrated)]
        frame = folder / bundle.graph("frame").name
        for file in bundle.files.keys() - {frame.name}:
            shutil.copyfile(bundle.path / file, folder / file)
        _quantize(
            bundle.graph("frame"), frame, feeds, KEEP[bundle.family] if keep is None else keep
        )
        write_manifest(
            replace(
                bundle,
                path=folder,
                name=name or output.name,
                precision="int8",
                files=hashes(folder, tuple(bundle.files)),
                origin=f"{bundle.origin}; {frame.name} quantised from that of {bundle.name} "
                f"(SHA-256 {bundle.files[frame.name]})",
                versions=dict(bundle.versions) | _versions(),
                made_of=bundle.files[frame.name],
            )
        )
        quantized = opened.enter_context(closing(_engine(open_bundle(folder))))
        _check(engine, quantized, list(drives(engine, measured)), least, report)
    return open_bundle(output)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands feeds to onnxruntime, one by one."""

    def __init__(self, feeds: Sequence[Mapping[str, Any]]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Mapping[str, Any] | None:
        """The next feed; None at the end."""
        return next(self._feeds, None)


def _engine(bundle: Bundle) -> OnnxEngine:
    return OnnxEngine(bundle, EngineSettings(bundle=str(bundle.path), provider="cpu"))


def _quantize(
    source: Path, target: Path, feeds: Sequence[Mapping[str, Any]], keep: Sequence[str]
) -> None:
    ready = target.with_suffix(".ready.onnx")
    # Fixed shapes and folded constants, which the quantiser wants to see. The symbolic inference
    # is for shapes that are not fixed.
    quant_pre_process(source, ready, skip_symbolic_shape=True)
    graph = onnx.load(ready).graph
    for start in keep:
        # Another exporter may name nodes otherwise: then motion would be quantised unsaid.
        if not any(node.name.startswith(start) for node in graph.node):
            raise ExportError(
                f"{source} has no nodes named {start}...; export the checkpoint again"
            )
    nodes = _quantised(graph, tuple(keep))
    if not nodes:
        raise ExportError(f"{source} has no convolution that may be quantised")
    quantize_static(
        ready,
        target,
        _Reader(feeds),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv", "Relu", "Resize"],
        nodes_to_quantize=nodes,
        per_channel=True,
        # uint8 and int8 have a fast path on every x86 processor; int8 and int8 have none.
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        # Weights of 7 bits: without VNNI, sums of 8-bit products overflow the processor's 16 bits.
        reduce_range=True,
    )
    ready.unlink()


def _quantised(graph: Any, keep: tuple[str, ...]) -> list[str]:
    """Names of the convolutions that may be int8, and of what costs nothing to take along: ReLUs,
    which become the lower end of a range, and repeated pixels on their way into a convolution."""
    free = [node for node in graph.node if not node.name.startswith(keep)]
    convolutions = [node for node in free if node.op_type == "Conv"]
    taken = {name for node in convolutions for name in node.input}
    nodes = [node.name for node in convolutions]
    for node in free:
        nearest = any(one.name == "mode" and one.s == b"nearest" for one in node.attribute)
        repeated = node.op_type == "Resize" and nearest and node.output[0] in taken
        if node.op_type == "Relu" or repeated:
            nodes.append(node.name)
    return nodes if convolutions else []


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


def _check(
    engine: OnnxEngine,
    quantized: OnnxEngine,
    held_out: Sequence[Drive],
    least_psnr_db: float,
    report: Callable[[str], object],
) -> None:
    """Compare the frame graphs and what is made of their outputs. Raises ExportError."""
    pairs: dict[str, list[tuple[Any, Any]]] = {}
    pictures: list[tuple[Image, Image]] = []
    for drive in held_out:
        carrier = Carrier(drive.avatar)
        expected, found = (one.run("frame", drive.feeds) for one in (engine, quantized))
        for output, array in expected.items():
            pairs.setdefault(output, []).append((array.copy(), found[output].copy()))
        pictures.append((finish(expected, carrier), finish(found, carrier)))
    agreements = {output: agreement(output, both) for output, both in pairs.items()}
    for one in agreements.values():
        report(one.figures)
    found_db = [cv2.PSNR(*both) for both in pictures]
    report(
        f"{'picture':<20} PSNR {np.mean(found_db):.1f} dB, the worst {min(found_db):.1f} dB, "
        f"at least {least_psnr_db:g} wanted"
    )
    before, after = _milliseconds((engine, quantized), held_out[0])
    report(f"{'frame graph':<20} {before:.1f} ms fp32, {after:.1f} ms int8: {before / after:.2f} x")
    # Written so that nan is not good.
    if not min(found_db) >= least_psnr_db:
        raise ExportError(
            f"int8 changes a picture to {min(found_db):.1f} dB PSNR of fp32, at least "
            f"{least_psnr_db:g} are wanted; no bundle was written"
        )
    moved = agreements.get("displacement")
    if moved and not moved.max_abs <= MOST_MOVED:
        raise ExportError(
            f"int8 moves pixels by up to {moved.max_abs:.4f} of -1..1, {MOST_MOVED:g} are allowed; "
            "no bundle was written"
        )


def _milliseconds(engines: Sequence[OnnxEngine], drive: Drive) -> list[float]:
    """Median time of each engine's frame graph, in turns: what else runs here hits all alike."""
    times: list[list[float]] = [[] for _ in engines]
    for _ in range(SPEED_RUNS):
        for engine, own in zip(engines, times, strict=True):
            start = time.perf_counter()
            engine.run("frame", drive.feeds)
            own.append(time.perf_counter() - start)
    return [1000 * float(np.median(own)) for own in times]

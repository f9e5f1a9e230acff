"""An fp32 ONNX bundle to one in int8 or fp16, measured before it appears.

Low precision harms through the motion, which moves every pixel, and little through the painting
after it. So of each graph some layers stay as they are (``RECIPES``), and there are limits that
hold on people whom nothing was adjusted to. Keypoints stay as they are where low precision would
move them.
"""

import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from config.errors import ExportError
from config.schema import EngineSettings
from export.agreement import agreement
from export.calibration import NEARER, Drive, Person, drives, readings
from export.folder import new_bundle
from export.lower import Recipe, to_fp16, to_int8
from models.bundle import Bundle, hashes, open_bundle, write_manifest
from realtime.carry import Carrier
from realtime.frame import Image
from realtime.onnx_engine import OnnxEngine
from realtime.planes import finish

Precision = Literal["int8", "fp16"]
Feed = Mapping[str, NDArray[np.float32]]

_MOTION, _FINAL = "/generator/dense_motion_network/", "/generator/final/"
_DETECTOR = ("/detector/presence/", "/eyes/heatmaps/")
_WHITE = {"/painter/paint/paint.1/Conv": 6.0}
_HEADS, _REST = "/motion/Conv", "/motion/Conv_1"
"""Names begin so: the first is both heads of the motion, and in int8 the weights of keypoints."""
_COMMON = ("/painter/after/", "/painter/paint/paint.0/", _HEADS)
"""Where single values are ten times as large as nearly all others: by their range, mouths would be
painted in eight steps."""
RECIPES: Mapping[str, Mapping[str, Sequence[Recipe]]] = {
    "compact": {
        "frame": (
            Recipe((_REST,), _WHITE, _COMMON),
            Recipe((_HEADS,), _WHITE, _COMMON),
            Recipe(("/motion/first/", _HEADS), _WHITE, _COMMON),
            Recipe(("/motion/", "/painter/paint/paint.1/")),
        ),
        "keypoints": (
            Recipe(_DETECTOR),
            Recipe((*_DETECTOR, "/detector/stem/")),
            Recipe((*_DETECTOR, "/detector/stem/", "/detector/up0/")),
        ),
    },
    "first-order": {
        "frame": (
            # A tenth faster, where the motion bears it.
            Recipe(
                (f"{_MOTION}hourglass/encoder/down_blocks.0/", f"{_MOTION}Conv", _FINAL),
                least_psnr_db=36,
            ),
            Recipe((_MOTION, _FINAL)),
        )
    },
}
"""Of each family and graph; the first one within the limits is taken."""
LEAST_PSNR_DB: Mapping[str, float] = {"compact": 34.0, "first-order": 30.0}
"""Of the worst picture against fp32."""
MOST_MOVED = 0.008
"""Change of the displacement that 999 of 1000 cells stay below: one pixel at 256, where -1..1 are
255. The most moved are lone cells where two parts of a face meet."""
LANDMARKS_MOVED_PX = 0.1
"""Mean distance of landmarks to those of fp32, pixels of an avatar of 256: a twentieth of their own
error."""
HELD_OUT = 4
"""Every so manieth person is measured with, and not calibrated on."""
SPEED_RUNS = 15


@dataclass(frozen=True, slots=True)
class _Tried:
    """What a lowered graph was found to be."""

    lines: Sequence[str]
    fault: str
    """"" where it is within the limits."""


def quantize_bundle(
    bundle: Bundle,
    output: Path,
    people: Sequence[Person],
    *,
    precision: Precision = "int8",
    name: str | None = None,
    recipe: Recipe | None = None,
    least_psnr_db: float | None = None,
    report: Callable[[str], object] = print,
) -> Bundle:
    """Write ``bundle`` (ONNX, fp32) in ``precision`` to the folder ``output``.

    Ranges of activations come from one part of ``people``; the other part is measured (all of
    them are both where there is but one). ``recipe``: of the frame graph, default ``RECIPES``;
    ``name`` defaults to the folder's. ``report`` gets a line for each output, for the picture made
    of them, and for the speed.

    ``output`` may be new, empty, or another bundle to replace. Raises ExportError, and leaves
    ``output`` as it was, for a bundle that is not fp32 ONNX, where a picture of ``people`` falls
    below ``least_psnr_db`` (default ``LEAST_PSNR_DB``), the displacement changes by more than
    ``MOST_MOVED``, or nothing can be written.
    """
    output = output.expanduser().absolute()
    if (bundle.format, bundle.precision) != ("onnx", "fp32"):
        raise ExportError(
            f"{precision} is made of an fp32 ONNX bundle, {bundle.path} is {bundle.precision} "
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
    recipes = dict(RECIPES[bundle.family])
    if recipe is not None:
        recipes["frame"] = (recipe,)
    with new_bundle(output) as folder, closing(_engine(bundle)) as engine:
        for file in bundle.files:
            shutil.copyfile(bundle.path / file, folder / file)

        def described() -> Bundle:
            return _described(bundle, folder, name or output.name, precision)

        def lower(graph: str, recipe: Recipe, feeds: Sequence[Feed]) -> Bundle:
            source, target = bundle.graph(graph), folder / bundle.graph(graph).name
            if precision == "int8":
                to_int8(source, target, feeds, recipe)
            else:
                to_fp16(source, target, recipe)
            return described()

        if "keypoints" in recipes:
            side = bundle.keypoint_size
            feeds, held_out = readings(calibrated, side), readings(measured, side)
            for one in recipes["keypoints"]:
                with closing(_engine(lower("keypoints", one, feeds))) as lowered:
                    tried = _keypoints_tried(engine, lowered, held_out, precision)
                if _is_good(tried, report):
                    break
            else:
                shutil.copyfile(bundle.graph("keypoints"), folder / bundle.graph("keypoints").name)
                report("keypoints stay fp32")
        feeds = [drive.feeds for drive in drives(engine, calibrated)]
        drives_held_out = list(drives(engine, measured))
        for one in recipes["frame"]:
            with closing(_engine(lower("frame", one, feeds))) as lowered:
                wanted = max(least, one.least_psnr_db)
                tried = _frame_tried(engine, lowered, drives_held_out, wanted, precision)
            if _is_good(tried, report):
                break
        else:
            raise ExportError(f"{precision} {tried.fault}; no bundle was written")
        described()
    return open_bundle(output)


def _is_good(tried: "_Tried", report: Callable[[str], object]) -> bool:
    for line in tried.lines:
        report(line)
    if tried.fault:
        report(f"too much: it {tried.fault}")
    return not tried.fault


def _described(bundle: Bundle, folder: Path, name: str, precision: str) -> Bundle:
    """Writes the manifest of what lies in ``folder`` now."""
    frame = bundle.graph("frame").name
    versions = {
        "python": platform.python_version(),
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
    }
    lowered = replace(
        bundle,
        path=folder,
        name=name,
        precision=precision,
        files=hashes(folder, tuple(bundle.files)),
        origin=f"{bundle.origin}; {precision} made of {bundle.name} (SHA-256 of its {frame} "
        f"{bundle.files[frame]})",
        versions=dict(bundle.versions) | versions,
        made_of=bundle.files[frame],
    )
    write_manifest(lowered)
    return lowered


def _engine(bundle: Bundle) -> OnnxEngine:
    return OnnxEngine(bundle, EngineSettings(bundle=str(bundle.path), provider="cpu"))


def _frame_tried(
    engine: OnnxEngine,
    lowered: OnnxEngine,
    held_out: Sequence[Drive],
    least_psnr_db: float,
    precision: str,
) -> _Tried:
    """Compare the frame graphs and what is made of their outputs."""
    pairs: dict[str, list[tuple[Any, Any]]] = {}
    pictures: list[tuple[Image, Image]] = []
    for drive in held_out:
        carrier = Carrier(drive.avatar)
        expected, found = (one.run("frame", drive.feeds) for one in (engine, lowered))
        for output, array in expected.items():
            pairs.setdefault(output, []).append((array.copy(), found[output].copy()))
        pictures.append((finish(expected, carrier), finish(found, carrier)))
    lines = [agreement(output, both).figures for output, both in pairs.items()]
    found_db = [cv2.PSNR(*both) for both in pictures]
    lines.append(
        f"{'picture':<20} PSNR {np.mean(found_db):.1f} dB, the worst {min(found_db):.1f} dB, "
        f"at least {least_psnr_db:g} wanted"
    )
    # Comparisons are written so that nan is not good.
    fault = ""
    if not min(found_db) >= least_psnr_db:
        fault = (
            f"changes a picture to {min(found_db):.1f} dB PSNR of fp32, at least "
            f"{least_psnr_db:g} are wanted"
        )
    if "displacement" in pairs:
        changes = [np.abs(one - other).ravel() for one, other in pairs["displacement"]]
        moved = float(np.percentile(np.concatenate(changes), 99.9))
        lines.append(
            f"{'moved':<20} 99.9 % by less than {moved * 127.5:.2f} px at 256, at most "
            f"{MOST_MOVED * 127.5:.2f} wanted"
        )
        if not moved <= MOST_MOVED:
            fault = f"moves pixels by {moved * 127.5:.2f} px at 256"
    lines.append(_speed(engine, lowered, "frame", held_out[0].feeds, precision))
    return _Tried(lines, fault)


def _keypoints_tried(
    engine: OnnxEngine, lowered: OnnxEngine, held_out: Sequence[Feed], precision: str
) -> _Tried:
    """Compare where the keypoint graphs see landmarks."""
    found = [
        [one.run("keypoints", feed)["value"][0] for one in (engine, lowered)] for feed in held_out
    ]
    apart = [np.linalg.norm(one - other, axis=-1) * 127.5 * NEARER for one, other in found]
    mean = float(np.mean(apart))
    line = (
        f"{'landmarks':<20} moved by {mean:.3f} px at 256 on average, 99 % by less than "
        f"{np.percentile(apart, 99):.2f}, at most {LANDMARKS_MOVED_PX:g} on average wanted"
    )
    speed = _speed(engine, lowered, "keypoints", held_out[0], precision)
    good = mean <= LANDMARKS_MOVED_PX
    return _Tried([line, speed], "" if good else f"moves landmarks by {mean:.3f} px")


def _speed(engine: OnnxEngine, lowered: OnnxEngine, graph: str, feed: Feed, precision: str) -> str:
    """Median times of a graph, in turns: what else runs here hits both alike."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(SPEED_RUNS):
        for one, own in zip((engine, lowered), times, strict=True):
            start = time.perf_counter()
            one.run(graph, feed)
            own.append(time.perf_counter() - start)
    before, after = (1000 * float(np.median(own)) for own in times)
    title = f"{graph} graph"
    return f"{title:<20} {before:.1f} ms fp32, {after:.1f} ms {precision}: {before / after:.2f} x"

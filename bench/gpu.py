"""``python -m bench.gpu``: all figures on an NVIDIA card; ``bench/gpu.sh`` looks for what it needs.

Each engine that runs on the card, one frame at a time: driving crop in, picture out, both in the
computer's own memory. What cannot run is told with its reason and does not end the rest.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import torch

from bench.command import versions
from bench.machine import Machine, this_machine
from bench.reference import OwnLoop, ReferenceLoop
from bench.report import as_json, check_target, write_text
from bench.synthetic import compact_model, levels, published_model, waves
from config.errors import EngineError, PuppetcamError, SettingsError
from config.network import load_network
from config.schema import EngineSettings
from export.bundle import export_bundle
from export.calibration import drawn_people
from export.quantize import quantize_bundle
from models.bundle import DEFAULT, Bundle, beside, open_bundle
from realtime.engine import open_engine
from realtime.frame import Image
from realtime.metrics import Spread, spread

AIMS_MS = {"vox-256": 4.0, "default": 2.0}
"""Median on a data-centre card."""
WARM_UP = 0.2
"""Part of the time that is not counted before it: clocks rise, plans are made."""
PRECISIONS: tuple[Literal["fp32", "fp16"], ...] = ("fp32", "fp16")
PROVIDERS = ("cuda", "tensorrt")
"""Those that the settings know of these are tried."""


@dataclass(frozen=True, slots=True)
class Row:
    """One way to run a step on the card."""

    network: str
    way: str
    step: Spread | None
    error: str | None
    """Why it was not measured, in one line."""


@dataclass(frozen=True, slots=True)
class GpuFigures:
    """The outcome of one run."""

    machine: Machine
    card: str
    versions: dict[str, str]
    rows: tuple[Row, ...]

    def table(self) -> str:
        """For the terminal."""
        packages = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        lines = [
            f"{self.machine}",
            f"{self.card}; {packages}",
            f"{'':46} {'p50 ms':>7} {'p95 ms':>7} {'p99 ms':>7} {'fps':>6}",
        ]
        for row in self.rows:
            name = f"{row.network}: {row.way}"
            if row.step is None:
                lines.append(f"{name:46} not measured: {row.error}")
                continue
            one = row.step
            lines.append(
                f"{name:46} {one.p50_ms:7.2f} {one.p95_ms:7.2f} {one.p99_ms:7.2f} "
                f"{1000 / one.p50_ms:6.0f}"
            )
        for network, aim_ms in AIMS_MS.items():
            own = [row.step.p50_ms for row in self.rows if row.network == network and row.step]
            best = f"best {min(own):.2f} ms" if own else "nothing measured"
            good = "yes" if own and min(own) < aim_ms else "no"
            lines.append(f"{network}: {best}, aim below {aim_ms:g} ms: {good}")
        return "\n".join(lines)


def measure(
    folder: Path,
    device: Literal["cuda", "cpu"] = "cuda",
    network: str = "vox-256",
    seconds: float = 5.0,
    report: Callable[[str], object] = print,
) -> tuple[Row, ...]:
    """``seconds`` of each way. Bundles are made in ``folder``; ``device``: "cpu" tries the whole
    out without a card. Raises SettingsError, ExportError."""
    config = load_network(network)
    published, compact = published_model(config), compact_model()
    pictures = [levels(waves(seed, config.size)) for seed in (10, 11, 12)]
    rows: list[Row] = []

    def add(name: str, way: str, made: Callable[[ExitStack], Callable[[], object]]) -> None:
        report(f"{name}: {way}")
        try:
            with ExitStack() as stack:
                rows.append(Row(name, way, _timed(made(stack), seconds), None))
        except (PuppetcamError, RuntimeError) as error:
            reason = str(error).strip().split("\n", 1)[0]
            rows.append(Row(name, way, None, reason))

    def eager(_: ExitStack) -> Callable[[], object]:
        loop = ReferenceLoop(published.to(device), pictures[0], pictures[1], device)
        return lambda: loop.step(pictures[2])

    add(config.name, "reference loop, torch eager fp32", eager)
    published.cpu()
    silent: Callable[[str], object] = lambda line: None  # noqa: E731
    # A copy: what is made of it lies beside it.
    shipped = open_bundle(Path(shutil.copytree(DEFAULT, folder / "default")))
    full = export_bundle(published, folder / config.name, report=silent)
    bundles = [(config.name, full), ("default", shipped)]
    for bundle, people in (
        (full, [pictures[:2]]),
        (shipped, drawn_people(shipped.output_size, people=1)),
    ):
        output = beside(bundle, "fp16")
        quantize_bundle(bundle, output, people, precision="fp16", least_psnr_db=0, report=silent)
    # Times do not depend on weights: those that ship are exported as ONNX only.
    for name, model in ((config.name, published), ("default", compact)):
        target = folder / f"{name}-torchscript"
        bundle = export_bundle(model, target, format="torchscript", report=silent)
        bundles.append((name, bundle))
    for name, bundle in sorted(bundles, key=lambda one: one[0] == "default"):
        for settings in ways(bundle, device):
            way = f"{settings.runtime} {settings.provider} {settings.precision}"
            add(name, way, lambda stack, own=settings: _step(own, pictures, stack))  # type: ignore[misc]
    return tuple(rows)


def ways(bundle: Bundle, device: str) -> list[EngineSettings]:
    """How the settings can have ``bundle`` run on the device."""
    known = get_args(next(one.type for one in fields(EngineSettings) if one.name == "provider"))
    providers: list[Any] = (
        [one for one in PROVIDERS if one in known] if device == "cuda" else ["cpu"]
    )
    onnx = bundle.format == "onnx"
    return [
        EngineSettings(
            bundle=str(bundle.path),
            runtime="onnxruntime" if onnx else "torchscript",
            precision=precision,
            provider=provider,
        )
        for provider in providers
        if onnx or provider != "tensorrt"
        for precision in PRECISIONS
    ]


def _step(
    settings: EngineSettings, pictures: Sequence[Image], stack: ExitStack
) -> Callable[[], object]:
    engine = stack.enter_context(closing(open_engine(settings)))
    side = engine.bundle.output_size
    avatar = cv2.resize(pictures[0], (side, side), interpolation=cv2.INTER_CUBIC)
    loop = OwnLoop(engine, avatar.astype("uint8"), pictures[1])
    crop = loop.crop(pictures[2])
    return lambda: loop.step(crop)


def _timed(step: Callable[[], object], seconds: float) -> Spread:
    """The result of a step is in the computer's memory when it ends: nothing runs on."""
    warm_at = time.perf_counter() + WARM_UP * seconds
    while True:
        step()
        if time.perf_counter() >= warm_at:
            break
    times: list[float] = []
    ends_at = time.perf_counter() + seconds
    while not times or time.perf_counter() < ends_at:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return spread(times)


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="N", help="of each way")
    parser.add_argument("--network", default="vox-256", help="a name in config/ or a YAML file")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: only to try it out"
    )
    arguments = parser.parse_args(argv)
    try:
        if not 0 < arguments.seconds <= 60:
            raise SettingsError(
                f"--seconds must be above 0, at most 60; found {arguments.seconds:g}"
            )
        if arguments.json is not None:
            check_target("--json", arguments.json)
        if arguments.device == "cuda" and not torch.cuda.is_available():
            raise EngineError(
                f"this torch ({torch.__version__}) reaches no NVIDIA card; bash bench/gpu.sh says "
                "what is missing"
            )
        with tempfile.TemporaryDirectory() as folder:
            rows = measure(Path(folder), arguments.device, arguments.network, arguments.seconds)
        card = torch.cuda.get_device_name() if arguments.device == "cuda" else "no card"
        found = GpuFigures(this_machine(), card, versions(), rows)
        if arguments.json is not None:
            write_text("--json", arguments.json, as_json(asdict(found)))
    except PuppetcamError as error:
        print(f"bench.gpu: {error}", file=sys.stderr)
        return error.exit_code
    print(found.table())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""``python -m bench.reference``: how much faster than the loop that the paper's demo runs.

That loop is PyTorch in eager mode; for every frame it finds the keypoints, makes them relative to
the first one's, encodes the avatar anew and generates. It is run here with this project's own
networks of the published size (vox-256, drawn weights: time does not depend on them), in turns with
what puppetcam runs, so that every speed-up is a ratio within one run. The published loop also makes
pictures for debugging, a share of its time that is left out here: the ratios are a little too low.
"""

import argparse
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.machine import Machine, this_machine
from bench.report import as_json, check_target, write_text
from bench.synthetic import compact_model, levels, published_bundles, waves
from config.errors import PuppetcamError, SettingsError
from config.network import NetworkConfig, load_network
from config.schema import EngineSettings
from export.calibration import drawn_people
from export.graphs import Model
from export.quantize import quantize_bundle
from models.bundle import BUNDLES, Bundle, open_bundle, precisions
from models.compact import CompactModel
from models.keypoints import Keypoints, relative_motion
from realtime.engine import Engine, open_engine
from realtime.frame import Image
from realtime.onnx_session import runtime_threads
from realtime.planes import empty_planes, fill_planes, resized

AVATAR, INITIAL, DRIVING = 10, 11, (12, 13, 14)
"""Seeds of the waves: avatar, the driver's first frame, and those after it."""
GOLDEN = "vox256-seed1.npz"
"""What the published code answers on seed 1 and the first driving picture, every 4th pixel."""
ROUNDS = 3
MOST_DB = 99.0
"""Stands for no difference at all."""

Picture = NDArray[np.float32]
"""(S, S, 3) RGB 0..1."""


@dataclass(frozen=True, slots=True)
class Row:
    """One way to run a step: driving crop in, picture out."""

    name: str
    network: str
    """That of the reference, e.g. "vox-256", or "default" or "small": those that ship."""
    provider: str
    precision: str
    ms: float
    """Median."""
    ratio: float
    """Reference loop against this one."""
    steps: int
    max_abs: float | None
    """Largest difference of a picture 0..1 from the reference loop's, or, of those that ship,
    from what its bundle gives in fp32 on ONNX Runtime, rounded to 1/255; None for loops."""
    psnr_db: float | None
    """Of the worst picture against the same, rounded to uint8; 99 where they are identical."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome of one run."""

    machine: Machine
    threads: int
    torch: str
    rows: tuple[Row, ...]
    """The reference comes first."""
    golden_max_abs: float | None
    """fp32 against what the published code answers, to whom the pictures came before they were
    rounded to uint8; None where that file is not at hand."""

    def table(self) -> str:
        """For the terminal."""
        lines = [
            f"{self.machine}",
            f"torch {self.torch}, {self.threads} threads; driving crop in, picture out",
            f"{'':50} {'ms':>7} {'fps':>6} {'ratio':>6} {'max abs':>8} {'PSNR dB':>8}",
        ]
        for row in self.rows:
            most = "" if row.max_abs is None else f"{row.max_abs:.1e}"
            psnr = "" if row.psnr_db is None else f"{row.psnr_db:.1f}"
            name = f"{row.name}: {row.network} {row.precision}, {row.provider}"
            lines.append(
                f"{name:50} {row.ms:7.1f} {1000 / row.ms:6.1f} {row.ratio:6.2f} {most:>8} {psnr:>8}"
            )
        if self.golden_max_abs is not None:
            lines.append(
                "fp32 against what the published code answers to pictures not rounded to uint8: "
                f"max abs {self.golden_max_abs:.1e}"
            )
        return "\n".join(lines)


class ReferenceLoop:
    """The loop of the paper's demo: relative motion, adapted scale."""

    def __init__(self, model: Model, avatar: Image, initial: Image, device: str = "cpu") -> None:
        """Pictures (S, S, 3) uint8 RGB, S = ``model.size``; ``model`` is on ``device``."""
        self._model, self._device = model, device
        self._avatar = tensor_of(avatar).to(device)
        with torch.no_grad():
            self._avatar_keypoints = model.detect(self._avatar)
            self._initial = model.detect(tensor_of(initial).to(device))

    def predict(self, driving: Image) -> Tensor:
        """One frame: (S, S, 3) uint8 RGB in, (1, 3, S, S) 0..1 out."""
        model: Any = self._model
        with torch.no_grad():
            found = model.detect(tensor_of(driving).to(self._device))
            keypoints = relative_motion(self._avatar_keypoints, found, self._initial)
            picture: Tensor = model.generate(
                model.encode(self._avatar), self._avatar_keypoints, keypoints
            )
        return picture

    def step(self, driving: Image) -> Image:
        """One frame, pictures (S, S, 3) uint8 RGB in and out."""
        return levels(
            np.asarray(self.predict(driving)[0].permute(1, 2, 0).cpu().numpy(), np.float32)
        )


class OwnLoop:
    """What puppetcam does for a frame once it has the driving crop."""

    def __init__(self, engine: Engine, avatar: Image, initial: Image) -> None:
        """``avatar`` (S, S, 3) uint8 RGB, S = ``bundle.output_size``; ``initial`` of any size."""
        self._engine = engine
        self._avatar_keypoints = engine.set_avatar(avatar)
        self._initial, _ = engine.keypoints(self.crop(initial))
        self._planes = self._avatar_planes(avatar)

    def step(self, driving: Image) -> Image:
        """``driving`` (s, s, 3), s = ``bundle.keypoint_size``; (S, S, 3) uint8 RGB out."""
        return self._engine.generate(self._moved(driving))

    def predict(self, driving: Image) -> Picture:
        """The same, (S, S, 3) 0..1; before rounding where the graph gives the picture itself."""
        if self._engine.bundle.family == "compact":
            return np.asarray(self.step(driving) / np.float32(255))
        engine: Any = self._engine
        code = engine.run("avatar", {"image": self._planes})
        feeds = dict(code)
        for prefix, one in (("avatar_", self._avatar_keypoints), ("", self._moved(driving))):
            feeds |= {f"{prefix}{name}": array[None] for name, array in one._asdict().items()}
        planes = engine.run("frame", feeds)["image"][0]
        return np.asarray(planes.transpose(1, 2, 0), np.float32)

    def crop(self, image: Image) -> Image:
        """As the keypoint network takes it."""
        return resized(image, self._engine.bundle.keypoint_size)

    def _moved(self, driving: Image) -> Keypoints:
        found, _ = self._engine.keypoints(driving)
        return relative_motion(self._avatar_keypoints, found, self._initial)

    def _avatar_planes(self, avatar: Image) -> NDArray[np.float32]:
        planes = empty_planes(self._engine.bundle.size)
        fill_planes(planes, resized(avatar, self._engine.bundle.size))
        return planes


def tensor_of(image: Image) -> Tensor:
    """(S, S, 3) uint8 RGB as (1, 3, S, S) 0..1."""
    return torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]


def in_turns(steps: Sequence[Callable[[], object]], seconds: float) -> list[list[float]]:
    """Seconds that each step took; blocks of each in turns, so that what else the machine does hits
    all alike. The first step of a block, which finds the caches full of another's, is left out."""
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(ROUNDS):
        for step, own in zip(steps, times, strict=True):
            step()
            ends_at = time.perf_counter() + seconds / ROUNDS
            now = 0.0
            while now < ends_at:
                start = time.perf_counter()
                step()
                now = time.perf_counter()
                own.append(now - start)
    return times


def compare(
    folder: Path,
    network: NetworkConfig,
    settings: EngineSettings,
    seconds: float = 4.0,
    report: Callable[[str], object] = print,
) -> Comparison:
    """Measure ``seconds`` of each way. Bundles are made in ``folder``; ``network``: of the
    reference; of ``settings``, provider and threads count. Raises ExportError, EngineError."""
    threads, before = runtime_threads(settings), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with ExitStack() as stack:
            ways, golden = _ways(folder, network, settings, stack, report)
            times = in_turns([way.step for way in ways], seconds)
    finally:
        torch.set_num_threads(before)
    medians = [1000 * float(np.median(own)) for own in times]
    return Comparison(
        machine=this_machine(),
        threads=threads,
        torch=str(torch.__version__),
        rows=tuple(
            Row(
                way.name, way.network, way.provider, way.precision,
                ms, medians[0] / ms, len(own), way.max_abs, way.psnr_db,
            )
            for way, own, ms in zip(ways, times, medians, strict=True)
        ),
        golden_max_abs=golden,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Way:
    name: str
    network: str
    provider: str
    precision: str
    step: Callable[[], object]
    max_abs: float | None = None
    psnr_db: float | None = None


def _ways(
    folder: Path,
    config: NetworkConfig,
    settings: EngineSettings,
    stack: ExitStack,
    report: Callable[[str], object],
) -> tuple[list[_Way], float | None]:
    """All ways, the reference first, and what ``Comparison.golden_max_abs`` says."""
    model, *published = published_bundles(folder, config, report)
    avatar, initial, *driving = [
        levels(waves(seed, config.size)) for seed in (AVATAR, INITIAL, *DRIVING)
    ]
    loop = ReferenceLoop(model, avatar, initial)
    compact = compact_model()
    faces = drawn_people(CompactModel.output_size, people=1, seed=500)[0]
    face = resized(faces[0], compact.size)
    small = ReferenceLoop(compact, face, face)
    eager = "torch eager"
    ways = [
        _Way("reference loop", config.name, eager, "fp32", lambda: loop.step(driving[0])),
        _Way("same loop", "default", eager, "fp32", lambda: small.step(face)),
    ]
    golden = None
    for network, bundles, pictures in (
        (config.name, published, [avatar, initial, *driving]),
        *((name, shipped_bundles(name, folder, report), faces) for name in BUNDLES),
    ):
        expected: list[Picture] = []
        if network == config.name:
            expected = [loop.predict(one)[0].permute(1, 2, 0).numpy() for one in driving]
        for bundle in bundles:
            for runtime in runtimes():
                own = replace(settings, bundle=str(bundle.path), runtime=runtime, precision="auto")
                engine = stack.enter_context(closing(open_engine(own)))
                mine = OwnLoop(engine, pictures[0], pictures[1])
                crops = [mine.crop(one) for one in pictures[2:]]
                found = [mine.predict(one) for one in crops]
                if not expected:  # a shipped bundle is held against itself in fp32
                    expected = found
                elif golden is None and network == "vox-256":
                    golden = _against_published(found[0])
                ways.append(
                    _Way(
                        "puppetcam", network, engine.provider, bundle.precision,
                        partial(mine.step, crops[0]), *_difference(expected, found),
                    )
                )  # fmt: skip
    return ways, golden


def runtimes() -> list[Literal["onnxruntime", "openvino"]]:
    """Those for ONNX bundles that are installed."""
    names: tuple[Literal["onnxruntime", "openvino"], ...] = ("onnxruntime", "openvino")
    return [name for name in names if importlib.util.find_spec(name) is not None]


def shipped_bundles(
    name: str, folder: Path, report: Callable[[str], object] = print
) -> list[Bundle]:
    """The bundle that ships as ``name``, in fp32 and int8; the latter is made in ``folder`` where
    it does not ship."""
    bundle = open_bundle(BUNDLES[name])
    if "int8" in precisions(bundle):
        return [bundle, open_bundle(BUNDLES[name], "int8")]
    people = drawn_people(bundle.output_size, people=4)
    return [bundle, quantize_bundle(bundle, folder / f"{name}-int8", people, report=report)]


def _difference(expected: Sequence[Picture], found: Sequence[Picture]) -> tuple[float, float]:
    """Largest difference, and PSNR of the worst picture rounded to uint8, at most ``MOST_DB``."""
    pairs = list(zip(expected, found, strict=True))
    psnr = min(cv2.PSNR(levels(one), levels(two)) for one, two in pairs)
    return max(float(np.abs(one - two).max()) for one, two in pairs), min(psnr, MOST_DB)


def _against_published(picture: Picture) -> float | None:
    """Largest difference from what the published code gives, every 4th pixel."""
    root = Path(__file__).parents[1]
    for folder in (root / "tests" / "data", root.parent / "shared" / "fixtures"):
        if (folder / GOLDEN).is_file():
            with np.load(folder / GOLDEN) as golden:
                return float(np.abs(golden["prediction"] - picture[::4, ::4]).max())
    return None


def main(argv: list[str] | None = None) -> int:
    """Measure, print or write; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.reference",
        description="the loop of the paper's demo against puppetcam, in one run",
    )
    parser.add_argument(
        "--network", default="vox-256", help="of the reference: a name in config/ or a YAML file"
    )
    parser.add_argument("--seconds", type=float, default=4.0, metavar="N", help="for each way")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="default: as usual")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args(argv)
    try:
        if not 0 < arguments.seconds <= 600:
            raise SettingsError(
                f"--seconds must be above 0, at most 600; found {arguments.seconds:g}"
            )
        if not 0 <= arguments.threads <= 256:
            raise SettingsError(f"--threads must be from 0 to 256; found {arguments.threads}")
        if arguments.json is not None:
            check_target("--json", arguments.json)
        network = load_network(arguments.network)
        settings = EngineSettings(provider="cpu", threads=arguments.threads)
        with tempfile.TemporaryDirectory() as scratch:
            found = compare(Path(scratch), network, settings, arguments.seconds)
        if arguments.json is not None:
            write_text("--json", arguments.json, as_json(asdict(found)))
    except PuppetcamError as error:
        print(f"bench.reference: {error}", file=sys.stderr)
        return error.exit_code
    print(found.table())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

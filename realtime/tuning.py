"""Chooses runtime, precision and threads by trying them, for about a second of each start until all
are tried.

What is chosen is remembered in the cache folder, under everything that it hangs on: the machine,
the bundle and what was made of it, the versions of the runtimes, what the settings leave open. It
knows the time of a frame, not its quality: a lower precision is only there where an export found it
good enough.
"""

import hashlib
import json
import logging
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast, get_args

import cv2
import numpy as np
import psutil

from config.errors import EngineError, MissingPackageError
from config.schema import EngineSettings
from models.bundle import Bundle, bundle_folder, open_bundle, precisions
from models.published import cache_folder
from realtime.engine import open_engine
from realtime.onnx_session import cuda_is_offered, runtime_threads

_log = logging.getLogger(__name__)

FILE = "engine.json"
"""In the cache folder."""
TRIAL_S = 0.15
"""How long each way is timed, once it is open and warm."""
BUDGET_S = 0.5
"""No further way is tried at this start once so much time is spent; the next start goes on.
OpenVINO alone takes a second to open, and the first picture is to be there within two."""
LEAST_STEPS = 5
GAIN = 0.95
"""A later way is taken for less than so much of the time of an earlier one: equal ones would change
from start to start."""
PACKAGES = ("puppetcam", "numpy", "opencv-python", "onnxruntime", "onnxruntime-gpu", "openvino")
MOST_KEPT = 32
"""Choices remembered; the oldest goes."""
BUSY = 0.25
"""Share of all processors from which what other programs use spoils the trials: a choice that was
made beside them is taken, for want of a better one, and not remembered."""

Runtime = Literal["auto", "onnxruntime", "openvino", "torchscript"]
Precision = Literal["auto", "fp32", "int8", "fp16"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to run the networks."""

    runtime: str
    precision: str
    threads: int
    ms: float
    """Keypoints and picture of one frame, the fastest of some."""

    def __str__(self) -> str:
        return f"{self.runtime} {self.precision}, threads {self.threads}: {self.ms:.1f} ms"


@dataclass(frozen=True, slots=True)
class Choice:
    """What runs the networks here."""

    settings: EngineSettings
    """Without an "auto" or a 0 that the choice was free to fill."""
    trials: Sequence[Trial] = ()
    """What was tried, the chosen one first; none where the settings leave nothing open."""
    remembered: bool = False
    busy: float = 0.0
    """Share of all processors that other programs used during the trials, 0..1."""
    complete: bool = True
    """False: more is tried at the next start."""


def others_s() -> float:
    """Processor seconds that all other programs have used so far, of all processors."""
    times = psutil.cpu_times()._asdict()
    idle = sum(times.get(name, 0.0) for name in ("idle", "iowait"))
    # A guest's time is part of the user's.
    twice = sum(times.get(name, 0.0) for name in ("guest", "guest_nice"))
    return float(sum(times.values()) - idle - twice - time.process_time())


def choose(
    settings: EngineSettings,
    folder: Path | None = None,
    clock: Callable[[], float] = time.perf_counter,
    others: Callable[[], float] = others_s,
    budget_s: float = BUDGET_S,
) -> Choice:
    """Fill what ``settings`` leave open, with what was found best here before, or is now.

    ``folder``: where choices are kept, default the cache folder. ``others``: see ``others_s``.
    ``budget_s``: see ``BUDGET_S``.
    Raises BundleError, and EngineError or MissingPackageError where no way works.
    """
    bundle = open_bundle(bundle_folder(settings.bundle))
    ways = _ways(settings, bundle)
    open_threads = not settings.threads and bundle.format == "onnx"
    if len(ways) == 1 and not open_threads:
        return Choice(ways[0])
    file = (folder or cache_folder()) / FILE
    key = _key(settings, bundle)
    kept = _read(file)
    known, complete = _understood(kept.get(key))
    if complete:
        return Choice(_filled(settings, known[0]), known, remembered=True)
    began, before = clock(), others()
    trials, complete = _tried(ways, settings, bundle, clock, known, began + budget_s)
    processors = max(clock() - began, 1e-3) * (psutil.cpu_count() or 1)
    busy = min(max((others() - before) / processors, 0.0), 1.0)
    choice = Choice(_filled(settings, trials[0]), trials, busy=busy, complete=complete)
    if busy >= BUSY:
        _log.info("the choice of the runtime is not remembered: other programs ran beside it")
        return choice
    kept.pop(key, None)
    kept[key] = {"trials": [asdict(trial) for trial in trials], "complete": complete}
    _write(file, dict(list(kept.items())[-MOST_KEPT:]))
    return choice


def _ways(settings: EngineSettings, bundle: Bundle) -> list[EngineSettings]:
    """Runtimes and precisions that may be tried."""
    if bundle.format == "torchscript":
        known = ["fp32", "fp16"] if settings.provider != "cpu" and torch_has_card() else ["fp32"]
        wanted = known if settings.precision == "auto" else [settings.precision]
        return [
            replace(settings, runtime="torchscript", precision=cast(Precision, one))
            for one in wanted
        ]
    card = settings.provider != "cpu" and cuda_is_offered()
    found = precisions(bundle)
    # A card has no fast int8 for such graphs, a processor no fp16. What is likely best is tried
    # first: on a slow machine the first start has time for no other.
    best, useless = ("fp16", "int8") if card else ("int8", "fp16")
    useful = [name for name in found if name != useless] or list(found)
    useful.sort(key=lambda name: name != best)
    wanted = useful if settings.precision == "auto" else [settings.precision]
    runtimes = ["onnxruntime"]
    if settings.runtime != "auto":
        runtimes = [settings.runtime]
    elif not card and find_spec("openvino") is not None:
        runtimes.append("openvino")
    return [
        replace(settings, runtime=cast(Runtime, runtime), precision=cast(Precision, precision))
        for runtime in runtimes
        for precision in wanted
    ]


def _tried(
    ways: Sequence[EngineSettings],
    settings: EngineSettings,
    bundle: Bundle,
    clock: Callable[[], float],
    known: Sequence[Trial],
    until: float,
) -> tuple[list[Trial], bool]:
    """All trials, the best first, those that are known among them, none begun after ``until``; and
    whether none is left. Raises the last way's error where none works."""
    trials: list[Trial] = []
    best: Trial | None = None
    complete = True

    def attempt(way: EngineSettings) -> None:
        nonlocal best, complete
        what = way.runtime, way.precision, runtime_threads(way)
        trial = next((t for t in known if (t.runtime, t.precision, t.threads) == what), None)
        if trial is None and best is not None and clock() > until:
            complete = False
            return
        try:
            trial = trial or _trial(way, bundle, clock)
        except (EngineError, MissingPackageError) as error:
            if way is ways[-1] and not trials:
                raise
            _log.info("left out of the choice: %s", error)
            return
        trials.append(trial)
        if best is None or trial.ms < GAIN * best.ms:
            best = trial

    for way in ways:
        # Another runtime is tried in the precision that was best in the first.
        first = way.runtime == ways[0].runtime
        if first or best is None or way.precision == best.precision:
            attempt(way)
    if best is None:
        raise EngineError(f"no runtime could run {bundle.path}")
    if not settings.threads:
        for threads in _counts(best.threads):
            attempt(replace(_filled(settings, best), threads=threads))
    return [best, *(trial for trial in trials if trial is not best)], complete


def torch_has_card() -> bool:
    """True where torch reaches an NVIDIA card."""
    if find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def _counts(tried: int) -> list[int]:
    """Other numbers of threads: half as many; twice as many where there are cores for it."""
    cores = psutil.cpu_count(logical=False) or 1
    return [one for one in (tried // 2, 2 * tried) if 0 < one <= min(cores, 8)]


def _trial(way: EngineSettings, bundle: Bundle, clock: Callable[[], float]) -> Trial:
    engine = open_engine(way)
    try:
        # Its content does not matter for the time, but for values that are no numbers.
        noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
        side, near = bundle.output_size, bundle.keypoint_size
        avatar, driving = (
            np.asarray(cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8)
            for size in (side, near)
        )
        engine.set_avatar(avatar)
        times: list[float] = []
        began = clock()
        while len(times) <= LEAST_STEPS or clock() - began < TRIAL_S:
            start = clock()
            engine.generate(engine.keypoints(driving)[0])
            times.append(clock() - start)
    finally:
        engine.close()
    # The first step makes plans and buffers. The fastest of the others: what else runs here makes a
    # step slower, never faster, and the choice is remembered.
    ms = 1000 * min(times[1:])
    return Trial(way.runtime, way.precision, runtime_threads(way), ms)


def _filled(settings: EngineSettings, trial: Trial) -> EngineSettings:
    return replace(
        settings,
        runtime=cast(Runtime, trial.runtime),
        precision=cast(Precision, trial.precision),
        threads=settings.threads or trial.threads,
    )


def _key(settings: EngineSettings, bundle: Bundle) -> str:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    threads = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    facts = {
        "machine": [platform.node(), platform.machine(), platform.processor(), platform.system()],
        "threads": [threads, psutil.cpu_count(logical=False)],
        "bundles": [
            dict(open_bundle(path).files) for _, path in sorted(precisions(bundle).items())
        ],
        "versions": versions,
        "settings": [settings.runtime, settings.precision, settings.provider, settings.threads],
    }
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _understood(found: Any) -> tuple[list[Trial], bool]:
    """The trials that were remembered, and whether all were made; none where it is not what this
    module writes."""
    try:
        trials = [
            Trial(str(one["runtime"]), str(one["precision"]), int(one["threads"]), float(one["ms"]))
            for one in found["trials"]
        ]
        best, complete = trials[0], found["complete"] is True
    except (TypeError, KeyError, ValueError, IndexError):
        return [], False
    if best.runtime not in get_args(Runtime) or best.precision not in get_args(Precision):
        return [], False
    return trials, complete


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(file: Path, kept: dict[str, Any]) -> None:
    """A folder that cannot be written to costs a second at each start, no more."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=file.parent, prefix=f".{file.name}-", delete=False
        ) as scratch:
            scratch.write(json.dumps(kept, indent=1) + "\n")
        os.replace(scratch.name, file)
    except OSError as error:
        _log.info("the choice of the runtime is not remembered: %s", error)

"""Many configurations, each in a process of its own: what each costs and what it gives.

The first configuration is what the pictures of the others are compared with.
"""

import argparse
import copy
import itertools
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.command import measure, settings_of
from bench.pareto import Plot, Point, as_html, as_png
from bench.report import as_json, table_csv, write_text
from config.errors import PuppetcamError, SettingsError, SinkError
from models.keypoints import Keypoints
from realtime.assembly import assemble
from realtime.engine import Engine
from realtime.frame import Image

MOST = 64
"""Configurations of one sweep."""
MOST_DB = 60.0
"""Stands for no difference at all."""
_POSES = ((0.0, 0.0, 0.0), (8.0, 0.03, 0.0), (-8.0, -0.03, 0.02), (4.0, 0.0, -0.04))
"""Degrees, right, down: of the avatar's own keypoints."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration, measured or not."""

    label: str
    """What is different about it, e.g. "engine.threads=1"."""
    error: str | None
    """Why there are no figures, in one line."""
    step_ms: float = 0.0
    """Of the networks, median."""
    fps: float = 0.0
    """Delivered by the pipeline."""
    age_ms: float = 0.0
    """Frame age, median."""
    cpu_ms: float = 0.0
    """Processor time a delivered frame, all threads."""
    memory_mb: float = 0.0
    psnr_db: float = 0.0
    """Of the worst picture against the first configuration's."""
    provider: str = ""
    precision: str = ""


def configurations(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """``["a.b=1,2", "c.d=x,y"]`` -> each combination as ``("a.b=1", "c.d=x")``, the last option
    running fastest. Raises SettingsError."""
    axes = []
    for text in texts:
        key, equals, values = text.partition("=")
        found = [value.strip() for value in values.split(",")]
        if not equals or "." not in key or not all(found):
            raise SettingsError(
                f"--sweep {text}: give a setting and its values, e.g. engine.threads=1,2"
            )
        axes.append([f"{key}={value}" for value in found])
    combinations = list(itertools.product(*axes))
    if len(combinations) > MOST:
        raise SettingsError(
            f"--sweep asks for {len(combinations)} configurations, at most {MOST}; name fewer"
        )
    return combinations


def run_sweep(arguments: argparse.Namespace, report: Callable[[str], object] = print) -> int:
    """Measure all, write ``--output``: sweep.json, sweep.csv, pareto.png, pareto.html; print a
    table. Returns the exit code. Raises PuppetcamError."""
    combinations = configurations(arguments.sweep)
    # A mistake in a setting is told before an hour of measuring.
    for settings in combinations:
        settings_of(_changed(arguments, settings))
    folder: Path = arguments.output
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"--output {folder}: {error.strerror}; name a folder") from error
    trials: list[Trial] = []
    first: list[Image] | None = None
    for number, settings in enumerate(combinations, start=1):
        label = " ".join(settings)
        report(f"{number} of {len(combinations)}: {label}")
        values, pictures, reason = _in_a_process(_changed(arguments, settings))
        if reason is None:
            first = first or pictures
            trials.append(_trial(label, values, worst_psnr(first, pictures)))
        else:
            report(f"  left out: {reason}")
            trials.append(Trial(label, reason))
    if first is None:
        raise SettingsError(f"none of the {len(trials)} configurations ran: {trials[0].error}")
    report(table(trials))
    write_all(trials, folder)
    report(f"written to {folder}: sweep.json, sweep.csv, pareto.png, pareto.html")
    return 0


def table(trials: Sequence[Trial]) -> str:
    """For the terminal."""
    width = max(len(trial.label) for trial in trials)
    head = f"{'':{width}} {'step ms':>8} {'fps':>6} {'age ms':>7} {'cpu ms':>7} {'MB':>6} {'dB':>6}"
    lines = [head]
    for trial in trials:
        if trial.error is not None:
            lines.append(f"{trial.label:{width}} not measured: {trial.error}")
            continue
        lines.append(
            f"{trial.label:{width}} {trial.step_ms:8.1f} {trial.fps:6.1f} {trial.age_ms:7.1f} "
            f"{trial.cpu_ms:7.1f} {trial.memory_mb:6.0f} {trial.psnr_db:6.1f}  "
            f"{trial.precision}, {trial.provider}"
        )
    return "\n".join(lines)


def plots(trials: Sequence[Trial]) -> list[Plot]:
    """Speed against likeness, and against processor time."""
    good = [trial for trial in trials if trial.error is None]
    across = "networks, ms a frame (median)"
    return [
        Plot(
            "Pictures",
            across,
            f"PSNR against 1, dB ({MOST_DB:g}: the same)",
            tuple(Point(trial.label, trial.step_ms, trial.psnr_db) for trial in good),
            more_is_better=True,
        ),
        Plot(
            "Processor",
            across,
            "processor ms a delivered frame, all threads",
            tuple(Point(trial.label, trial.step_ms, trial.cpu_ms) for trial in good),
            more_is_better=False,
        ),
    ]


def write_all(trials: Sequence[Trial], folder: Path) -> None:
    """The four files. Raises SinkError."""
    rows = [asdict(trial) for trial in trials]
    write_text("--output", folder / "sweep.json", as_json(rows))
    head = list(rows[0])
    lines = table_csv(head, [[row[name] for name in head] for row in rows])
    write_text("--output", folder / "sweep.csv", lines)
    drawn = plots(trials)
    write_text("--output", folder / "pareto.html", as_html("puppetcam: sweep", drawn))
    picture = cv2.cvtColor(as_png(drawn), cv2.COLOR_RGB2BGR)
    try:
        (folder / "pareto.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    except OSError as error:
        raise SinkError(f"--output {folder}: {error.strerror}") from error


def worst_psnr(expected: Sequence[Image], found: Sequence[Image]) -> float:
    """Decibels, at most ``MOST_DB``; pictures of another size are brought to the first ones'."""
    worst = MOST_DB
    for one, two in zip(expected, found, strict=True):
        side = one.shape[0]
        same = two if two.shape == one.shape else cv2.resize(two, (side, side))
        worst = min(worst, cv2.PSNR(one, np.asarray(same, np.uint8)))
    return worst


def posed(engine: Engine, avatar: Image) -> list[Image]:
    """The avatar in a few poses, which every engine gets alike."""
    own = engine.set_avatar(avatar)
    pictures = []
    for degrees, right, down in _POSES:
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        turn = np.array([[cos, -sin], [sin, cos]], np.float32)
        middle = own.value.mean(axis=0)
        value = (own.value - middle) @ turn.T + middle + np.array([right, down], np.float32)
        pose = Keypoints(value.astype(np.float32), (turn @ own.jacobian).astype(np.float32))
        pictures.append(engine.generate(pose))
    return pictures


def _changed(arguments: argparse.Namespace, settings: Sequence[str]) -> argparse.Namespace:
    changed = copy.copy(arguments)
    changed.settings = [*arguments.settings, *settings]
    changed.measure = ["pipeline", "model"]
    return changed


def _trial(label: str, values: dict[str, Any], psnr_db: float) -> Trial:
    pipeline = values["pipeline"]
    summary = pipeline["summary"]
    return Trial(
        label=label,
        error=None,
        step_ms=values["model"]["step"]["p50_ms"],
        fps=summary["fps"],
        age_ms=summary["age"]["p50_ms"],
        cpu_ms=1000 * summary["cpu_s"] / max(summary["delivered"], 1),
        memory_mb=pipeline["memory_mb"],
        psnr_db=psnr_db,
        provider=values["provider"],
        precision=values["bundle"]["precision"],
    )


def _in_a_process(
    arguments: argparse.Namespace,
) -> tuple[dict[str, Any], list[Image], str | None]:
    """Values of the report, pictures, error. A fresh process: memory and start are its own."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        try:
            return pool.submit(_measured, arguments).result()
        except BrokenProcessPool:
            return {}, [], "its process was ended by the system (memory?)"


def _measured(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Image], str | None]:
    try:
        values = measure(arguments).as_dict()
        with assemble(settings_of(arguments), arguments.avatar[:1]) as assembly:
            pictures = posed(assembly.engine, assembly.avatars[0].image)
    except PuppetcamError as error:
        return {}, [], str(error)
    return values, pictures, None

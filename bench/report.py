"""What one run of the benchmark found, as a table, as JSON and as CSV."""

import csv
import io
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.errors import SinkError

if TYPE_CHECKING:
    from bench.glass import Glass
    from bench.latency import ModelTimes, PipelineTimes, SourceFacts
    from bench.machine import Machine
    from models.bundle import Bundle
    from realtime.metrics import Spread

_WIDTH = 24


@dataclass(frozen=True, slots=True)
class Report:
    """One run of the benchmark. What was not asked for is None."""

    date: str
    """ISO 8601, with the offset of the local time."""
    command: str
    machine: "Machine"
    bundle: "Bundle"
    provider: str
    """Where the networks really ran."""
    threads: int
    """Of the runtime, on the CPU."""
    placement: str
    """The devices that the heavy nodes ran on, from the runtime's profile."""
    versions: dict[str, str]
    avatar: str
    source: "SourceFacts | None"
    model: "ModelTimes | None"
    pipeline: "PipelineTimes | None"
    glass: "tuple[Glass, ...]"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        found = asdict(self)
        found["bundle"]["path"] = str(self.bundle.path)
        del found["bundle"]["versions"], found["bundle"]["landmarks"]
        return found

    def table(self) -> str:
        """For the terminal."""
        bundle = self.bundle
        digest = bundle.files[bundle.graph("frame").name][:12]
        lines = [
            f"{self.date}  {self.machine}",
            f"bundle {bundle.name}: {bundle.family}, {bundle.output_size} px, {bundle.precision}, "
            f"frame graph {digest}, on {self.provider}, threads {self.threads}",
            f"heavy nodes: {self.placement}",
        ]
        if self.source is not None:
            one = self.source
            lines.append(f"source {one.name}: {one.width}x{one.height} at {one.fps:g} fps")
        lines.append(f"avatar {self.avatar}")
        if self.model is not None:
            lines += ["", *_model_lines(self.model)]
        if self.pipeline is not None:
            lines += ["", *_pipeline_lines(self.pipeline)]
        for glass in self.glass:
            lines += ["", *_glass_lines(glass)]
        return "\n".join(lines)


def _row(name: str, times: "Spread") -> str:
    return f"{name:{_WIDTH}} {times.p50_ms:8.1f} {times.p95_ms:8.1f} {times.p99_ms:8.1f}"


def _head(name: str) -> str:
    return f"{name:{_WIDTH}} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8}"


def _model_lines(model: "ModelTimes") -> list[str]:
    return [
        _head("networks alone"),
        *(_row(name, getattr(model, name)) for name in ("keypoints", "generate", "step")),
        f"{'avatar, once':{_WIDTH}} {model.avatar_ms:8.1f}",
        f"{'first step':{_WIDTH}} {model.first_ms:8.1f}   (warm-up {model.warm_up_ms:.0f} ms)",
    ]


def _pipeline_lines(found: "PipelineTimes") -> list[str]:
    summary, energy, change = found.summary, found.energy, found.avatar_change
    lines = [
        _head("from source to sink"),
        *(_row(name, times) for name, times in summary.stages.items()),
        _row("frame age", summary.age),
        f"{summary.fps:.1f} fps over {summary.seconds:.1f} s: {summary.delivered} of "
        f"{summary.captured} frames delivered, {summary.dropped} dropped, "
        f"{summary.repeated} repeats, jitter {found.jitter_ms:.1f} ms",
        f"first picture {found.first_frame_ms:.0f} ms after the run's start, "
        f"{found.process_ms:.0f} ms after the process's",
        f"processor {summary.cpu_s:.1f} s, {summary.cpu_percent:.0f} % of one core; "
        f"memory at most {found.memory_mb:.0f} MB resident",
    ]
    if energy.joules is None:
        lines.append(energy.note)
    elif summary.delivered:
        each = energy.joules / summary.delivered
        lines.append(f"{energy.joules:.1f} J, {each:.2f} J a frame: {energy.note}")
    if change is not None:
        lines.append(
            f"another avatar after {change.shown_ms:.0f} ms; longest gap {change.gap_ms:.0f} ms, "
            f"otherwise {change.usual_gap_ms:.0f} ms"
        )
    return lines


def _glass_lines(glass: "Glass") -> list[str]:
    return [
        _head("glass to glass"),
        _row("picture age", glass.age),
        f"receiver: {glass.receiver}; first picture after {glass.first_ms:.0f} ms, "
        f"jitter {glass.jitter_ms:.1f} ms",
        f"{glass.pictures} pictures received: {glass.new} new, {glass.missed} missed between them, "
        f"{glass.unreadable} unreadable",
    ]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted names, e.g. ``pipeline.summary.age.p50_ms``; lists by number."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, (list, tuple)):
            value = {str(number): one for number, one in enumerate(value)}  # noqa: PLW2901
        if isinstance(value, Mapping):
            found |= flat(value, f"{key}.")
        else:
            found[key] = value
    return found


def as_csv(values: Mapping[str, Any]) -> str:
    """One line a figure, ``figure,value``, of what ``as_dict`` gave."""
    return table_csv(["figure", "value"], list(flat(values).items()))


def table_csv(head: list[str], rows: list[Any]) -> str:
    """Lines of comma separated values."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()


def as_json(values: Any) -> str:
    """Indented, with a line's end."""
    return json.dumps(values, indent=2) + "\n"


def check_target(option: str, target: Path) -> None:
    """Raises SinkError where ``target`` can be no file."""
    if target.is_dir() or not target.parent.is_dir():
        found = "is a folder" if target.is_dir() else f"there is no folder {target.parent}"
        raise SinkError(f"{option} {target}: {found}; name a file")


def write_text(option: str, target: Path, text: str) -> None:
    """The whole file or none of it. Raises SinkError."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=target.parent, prefix=f".{target.name}-", delete=False
        ) as file:
            file.write(text)
        Path(file.name).chmod(0o644)
        os.replace(file.name, target)
    except OSError as error:
        raise SinkError(f"{option} {target} cannot be written: {error.strerror}") from error

"""Two reports of the benchmark beside each other."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.report import flat
from config.errors import SettingsError

SAME = ("machine", "provider", "threads", "bundle", "source", "avatar", "versions")
"""What must be the same in both for a ratio to say something of the change alone."""
_PARTS = {"machine", "provider", "model", "pipeline"}
_FIGURES = ("model.", "pipeline.", "glass.")
_COUNTS = (".count", ".captured", ".pictures", ".new", ".seconds", ".repeated", ".delivered")
"""How long a run was, not how good."""


def read_report(path: Path) -> dict[str, Any]:
    """What ``puppetcam bench --json`` wrote. Raises SettingsError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"--compare {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise SettingsError(f"--compare {path} is no JSON: {error}") from error
    if not isinstance(found, dict) or not {"machine", "provider", "model", "pipeline"} <= set(
        found
    ):
        raise SettingsError(
            f"--compare {path} is no report of the benchmark; make one with "
            "'puppetcam bench --json FILE'"
        )
    return found


def compared(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """A table of each figure that both have, and their ratio; differences of the circumstances
    come first, as warnings."""
    lines = [f"warning: {one}" for one in differences(before, after)]
    rows = ratios(before, after)
    if not rows:
        return "\n".join([*lines, "the two reports have no figure in common"])
    width = max(len(name) for name, *_ in rows)
    lines.append(f"{'':{width}} {'A':>10} {'B':>10} {'B / A':>7}")
    for name, one, two in rows:
        ratio = f"{two / one:7.2f}" if one else f"{'':>7}"
        lines.append(f"{name:{width}} {one:10.2f} {two:10.2f} {ratio}")
    return "\n".join(lines)


def ratios(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """(figure, value in ``before``, value in ``after``)."""
    first, second = flat(before), flat(after)
    return [
        (name, float(first[name]), float(second[name]))
        for name in first
        if name.startswith(_FIGURES)
        and not name.endswith(_COUNTS)
        and _number(first[name])
        and _number(second.get(name))
    ]


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """One line for each circumstance that is not the same."""
    first, second = (flat({name: report.get(name) for name in SAME}) for report in (before, after))
    found = []
    for name in first | second:
        one, two = first.get(name), second.get(name)
        # A bundle lies elsewhere on each machine; its files' hashes say whether it is another.
        if one != two and name != "bundle.path":
            found.append(f"{name} differs: {one} in A, {two} in B")
    return found


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)

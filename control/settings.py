"""Settings while a run goes on: which of them change live, and how changes are laid over them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from config.errors import NeedsRestartError
from config.schema import Settings

LIVE = frozenset(
    {
        "camera.mirror",
        "camera.denoise",
        "tracking.lost_s",
        "tracking.ease_s",
        "tracking.zoom",
        "smoothing.enabled",
        "smoothing.min_cutoff_hz",
        "smoothing.beta",
        "motion.relative",
        "motion.adapt_scale",
        "motion.recentre_s",
        "motion.limit",
        "motion.expression",
        "motion.turn",
        "motion.nod",
        "label.enabled",
        "label.text",
        "label.position",
        "label.size",
        "label.opacity",
        "output.mirror",
        "output.compose",
        "output.background",
    }
)
"""Settings that the puppeteer takes between two frames; all others need a restart."""


def setting_values(settings: Settings) -> dict[str, dict[str, Any]]:
    """Settings as plain values, to be read; the API's token is nobody's to read."""
    values = values_of(settings)
    values["api"].pop("token")
    return values


def values_of(settings: Settings) -> dict[str, dict[str, Any]]:
    """All settings by group, plain values of their own."""
    return dataclasses.asdict(settings)


def laid_over(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with ``changes`` in them, whose keys are groups or dotted names."""
    for name, value in changes.items():
        group, dot, key = name.partition(".")
        inner = {key: value} if dot else value
        before = values.get(group, {})
        both = isinstance(inner, dict) and isinstance(before, dict)
        values[group] = {**before, **inner} if both else inner
    return values


def check_live(before: Settings, after: Settings) -> None:
    """Raises NeedsRestartError where a setting differs that does not change live."""
    old, new = values_of(before), values_of(after)
    for group, values in new.items():
        for key, value in values.items():
            name = f"{group}.{key}"
            if value != old[group][key] and name not in LIVE:
                raise NeedsRestartError(
                    f"'{name}' needs a restart: puppetcam run {name}={value}; "
                    "what can be changed now is listed under settings as live"
                )


def check_background(before: Settings, after: Settings) -> None:
    """Raises AvatarError for a new background that cannot be read: the puppeteer, which reads it
    beside the run, could only warn."""
    from realtime.avatar import read_picture
    from realtime.compose import BACKGROUNDS

    name = after.output.background
    if name != before.output.background and name not in BACKGROUNDS:
        read_picture(Path(name))

"""Where puppetcam keeps what is the user's own: folders of the system, or those he names."""

import os
from pathlib import Path

import platformdirs


def config_folder() -> Path:
    """Keys and certificates: the environment variable PUPPETCAM_CONFIG, else the user's own."""
    return _named("PUPPETCAM_CONFIG") or platformdirs.user_config_path("puppetcam", appauthor=False)


def state_folder() -> Path:
    """Answers that are remembered: the environment variable PUPPETCAM_STATE, else the user's."""
    return _named("PUPPETCAM_STATE") or platformdirs.user_state_path("puppetcam", appauthor=False)


def _named(variable: str) -> Path | None:
    chosen = os.environ.get(variable)
    return Path(chosen).expanduser() if chosen else None

"""Profiles: avatar, camera, crop, calibration, output and settings under a name, kept as they are
left.

A profile is a YAML file in the user's state folder, readable by this user alone. The calibration is
the driver's neutral face as plain numbers (landmarks and keypoints), never a picture. Where the
API listens, and its token, belong to no profile.
"""

import dataclasses
import logging
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from config.errors import SettingsError
from config.folders import state_folder
from config.load import build, read_yaml
from config.schema import ApiSettings, Settings
from control.running import write_private

if TYPE_CHECKING:
    from models.bundle import Bundle
    from realtime.motion import Calibration

_log = logging.getLogger(__name__)

SAVE_EVERY_S = 2.0
"""Longest time for which a change is not yet in the file."""
_DECIMALS = 5


@dataclass(frozen=True, slots=True)
class Neutral:
    """A driver's neutral face (``realtime.motion.Calibration``) in plain numbers."""

    read_by: str
    """What read it (``reader``): the numbers mean nothing to another network."""
    mirror: bool
    """Whether the camera's picture was flipped."""
    zoom: float
    closed: float
    landmarks: tuple[tuple[float, ...], ...]
    """48 of x, y."""
    value: tuple[tuple[float, ...], ...]
    """Of each keypoint, x, y."""
    jacobian: tuple[tuple[tuple[float, ...], ...], ...]
    """Of each keypoint, 2 x 2."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a run begins with."""

    avatars: tuple[str, ...] = ()
    """Pictures and folders; none: those that come with puppetcam."""
    loaded: tuple[str, ...] = ()
    """Pictures that were loaded while it ran."""
    avatar: str = ""
    """Name of the one that was shown."""
    source: str = ""
    sinks: tuple[str, ...] = ()
    """Without recordings: they would be written over."""
    settings: Settings = field(default_factory=Settings)
    calibration: Neutral | None = None


def profile_file(name: str) -> Path:
    """Where the profile of this name is kept. Raises SettingsError for what is no name."""
    if not re.fullmatch(r"\w([\w .-]{0,58}\w)?", name):
        raise SettingsError(
            f"'{name[:80]}' is no name for a profile; take up to 60 letters, digits, spaces, . - _"
        )
    return _folder() / f"{name}.yaml"


def profile_names() -> list[str]:
    """All that are there, by name."""
    return sorted(path.stem for path in _folder().glob("*.yaml") if not path.name.startswith("."))


def load_profile(name: str) -> Profile | None:
    """None where there is none of this name. Raises SettingsError for a file that is no profile."""
    path = profile_file(name)
    if not path.exists():
        return None
    try:
        profile = build(Profile, read_yaml(path))
        if profile.calibration is not None:
            _check(profile.calibration)
    except SettingsError as error:
        text = str(error).removeprefix(str(path)).lstrip()
        raise SettingsError(
            f"{path}: {text}; mend it, or begin anew: puppetcam profiles delete {name}"
        ) from error
    return profile


def save_profile(name: str, profile: Profile) -> None:
    """Write it whole or not at all. Raises OSError."""
    # The quick writer where there is one: the run goes on beside it.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text = yaml.dump(plain_values(profile), Dumper=dumper, sort_keys=False, allow_unicode=True)
    path = profile_file(name)
    write_private(path, f"# A profile of puppetcam: puppetcam run --profile '{name}'\n{text}")


def plain_values(profile: Profile) -> dict[str, Any]:
    """As YAML has it: what is empty or a default is left out."""
    values = dataclasses.asdict(profile) | {"settings": _changed(profile.settings)}
    return {key: _plain(value) for key, value in values.items() if value}


def delete_profile(name: str) -> None:
    """Raises SettingsError where there is none of this name."""
    try:
        profile_file(name).unlink()
    except FileNotFoundError as error:
        raise unknown(name) from error


def unknown(name: str) -> SettingsError:
    """The error for a name that no profile has."""
    names = ", ".join(profile_names()) or "none yet; make one: puppetcam run --profile NAME"
    return SettingsError(f"there is no profile '{name}'; there are {names}")


def reader(bundle: "Bundle", settings: Settings) -> str:
    """Names what reads the driver's face: the tracker, and the keypoint network by its SHA-256."""
    digest = bundle.files[bundle.graph("keypoints").name]
    return f"{settings.tracking.tracker} {digest[:16]}"


def to_neutral(calibration: "Calibration", read_by: str, mirror: bool) -> Neutral:
    """In plain numbers."""

    def rows(values: Any) -> Any:
        return tuple(tuple(round(float(x), _DECIMALS) for x in row) for row in values)

    return Neutral(
        read_by=read_by,
        mirror=mirror,
        zoom=round(calibration.zoom, _DECIMALS),
        closed=round(calibration.closed, _DECIMALS),
        landmarks=rows(calibration.landmarks),
        value=rows(calibration.initial.value),
        jacobian=tuple(rows(one) for one in calibration.initial.jacobian),
    )


def from_neutral(neutral: Neutral) -> "Calibration":
    """As motion takes it."""
    import numpy as np

    from models.keypoints import Keypoints
    from realtime.motion import Calibration

    keypoints = Keypoints(
        np.array(neutral.value, np.float32), np.array(neutral.jacobian, np.float32)
    )
    landmarks = np.array(neutral.landmarks, np.float32)
    return Calibration(keypoints, landmarks, neutral.zoom, neutral.closed)


class Autosave:
    """Writes a profile whenever it has changed, and when the run ends. ``with`` owns its thread."""

    def __init__(self, name: str, gather: Callable[[], Profile]) -> None:
        """``gather``: the profile as it stands; called by a thread of this class."""
        self._name = name
        self._gather = gather
        self._saved: Profile | None = None
        self._told = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="autosave", daemon=True)

    def save(self) -> None:
        """Write it if it has changed; a disk that does not take it is told once."""
        profile = self._gather()
        if profile == self._saved:
            return
        try:
            save_profile(self._name, profile)
        except OSError as error:
            reason = f"profile {self._name} cannot be kept: {error.strerror or error}"
            if reason != self._told:
                self._told = reason
                _log.warning("%s", reason)
        else:
            self._saved, self._told = profile, ""

    def __enter__(self) -> "Autosave":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(3)
        self.save()

    def _keep(self) -> None:
        while not self._ended.wait(SAVE_EVERY_S):
            self.save()


def _folder() -> Path:
    return state_folder() / "profiles"


def _changed(settings: Settings) -> dict[str, dict[str, Any]]:
    """The settings that are not the defaults, without those of the API."""
    values = dataclasses.asdict(dataclasses.replace(settings, api=ApiSettings()))
    defaults = dataclasses.asdict(Settings())
    groups = {
        group: {key: value for key, value in keys.items() if value != defaults[group][key]}
        for group, keys in values.items()
    }
    return {group: keys for group, keys in groups.items() if keys}


def _plain(value: Any) -> Any:
    """Tuples as lists, as YAML has them."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def _check(neutral: Neutral) -> None:
    points, frames = len(neutral.value), neutral.jacobian
    rows = [*neutral.landmarks, *neutral.value, *(row for one in frames for row in one)]
    is_whole = len(neutral.landmarks) == 48 and all(len(row) == 2 for row in rows)
    if not is_whole or len(frames) != points or any(len(one) != 2 for one in frames):
        raise SettingsError("'calibration' has not the numbers of a face")
    if not (neutral.zoom > 0 and 0 <= neutral.closed < 1):
        raise SettingsError("'calibration.zoom' must be above 0 and 'calibration.closed' 0 to 1")

"""Whose face an avatar shows, as its user says, kept in a small file beside the picture.

Nothing here checks the answer against the picture, and no list of people exists: the answer is a
statement of the one who gives it. It is bound to the bytes of the picture by their SHA-256.
"""

import contextlib
import datetime
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from config.errors import ConsentError, SettingsError
from config.folders import state_folder
from config.load import build, read_yaml

_log = logging.getLogger(__name__)

Whose = Literal["own", "permission", "fictional", "drawn"]
ANSWERS: tuple[Whose, ...] = get_args(Whose)
STATEMENTS: dict[Whose, str] = {
    "own": "my own face",
    "permission": "a person who allows this use",
    "fictional": "an invented person, or one whose picture is in the public domain",
    "drawn": "a drawing that shows nobody",
}
"""What each answer says."""
SUFFIX = ".consent.yaml"


@dataclass(frozen=True, slots=True)
class Consent:
    """An answer, and when it was given."""

    face: Whose
    date: str = ""
    """ISO 8601, the day; empty: not told."""
    sha256: str = ""
    """Of the picture, lower-case hexadecimal; empty: for whatever picture lies beside it."""

    def __post_init__(self) -> None:
        if self.sha256 and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256' must be 64 hexadecimal digits, found {self.sha256!r:.80}")
        if self.date:
            try:
                datetime.date.fromisoformat(self.date)
            except ValueError as error:
                raise ValueError(
                    f"date' must be a day such as 2026-11-20, found {self.date!r:.80}"
                ) from error

    @property
    def statement(self) -> str:
        """In words."""
        return STATEMENTS[self.face]


def file_beside(picture: Path) -> Path:
    """Where the answer lies: ``me.png.consent.yaml``."""
    return picture.with_name(picture.name + SUFFIX)


def find_consent(picture: Path, sha256: str) -> Consent | None:
    """The answer beside the picture, else the one in the user's state folder, else None.

    An answer for another picture of that name counts as none. Raises ConsentError for a file that
    cannot be understood.
    """
    for path in (file_beside(picture), _file_of(sha256)):
        if not path.is_file():
            continue
        found = _read(path)
        if found.sha256 in ("", sha256):
            return found
        _log.warning("%s is for another picture than the %s of now", path, picture.name)
    return None


def keep_consent(picture: Path, consent: Consent) -> Path:
    """Write the answer beside the picture; where that may not be, into the user's state folder.

    ``consent.sha256`` must be given. Returns the file. Raises ConsentError.
    """
    try:
        return _write(file_beside(picture), picture.name, consent)
    except OSError as error:
        _log.debug("beside the picture: %s", error)
    path = _file_of(consent.sha256)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _write(path, picture.name, consent)
    except OSError as error:
        raise ConsentError(
            f"the answer for {picture} can be kept neither beside it nor in {path.parent} "
            f"({error.strerror}); set PUPPETCAM_STATE to a folder of your own"
        ) from error


def _file_of(sha256: str) -> Path:
    return state_folder() / "consent" / f"{sha256}.yaml"


def _read(path: Path) -> Consent:
    try:
        values: dict[str, Any] = read_yaml(path)
        date = values.get("date")
        if isinstance(date, datetime.date):  # a bare 2026-11-20 in YAML
            values["date"] = f"{date:%Y-%m-%d}"
        return build(Consent, values)
    except SettingsError as error:
        text = str(error).removeprefix(str(path)).lstrip()
        raise ConsentError(f"{path}: {text}; mend it, or delete it to be asked again") from error


def _write(path: Path, name: str, consent: Consent) -> Path:
    shown = name if name.isprintable() else repr(name)
    text = f"# Whose face {shown} shows, as said by its user to puppetcam.\n" + yaml.safe_dump(
        {"face": consent.face, "date": consent.date, "sha256": consent.sha256}, sort_keys=False
    )
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return path

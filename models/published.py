"""The published weights: what there is, where it lies once fetched, whether it is as published.

Nothing in this file uses the network; ``models/download.py`` does, when the user asks for it.
"""

import contextlib
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import platformdirs

from config.errors import DownloadError
from config.load import build, read_yaml

MANIFEST = Path(__file__).with_name("manifest.yaml")

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Weights:
    """One published checkpoint and where copies of it lie."""

    name: str
    """What the user types."""
    file: str
    """File name, as published and in the cache."""
    config: str
    """Name of the network's configuration in ``config/``."""
    shows: str
    """What the network animates."""
    licence: str
    """What is known about the licence, in a few words."""
    mirrors: tuple[str, ...]
    """https addresses, tried in this order."""
    size: int | None = None
    """Bytes; None where unknown."""
    sha256: str | None = None
    """64 hexadecimal digits; None: nobody has published a hash, the file is "unverified"."""
    pruned_md5: str | None = None
    """MD5 of a smaller layout of the same weights that is about: names a file, proves nothing."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*", self.file):
            raise ValueError(f"file' must be a plain file name, found {self.file!r}")
        if self.sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256' must be 64 hexadecimal digits, found {self.sha256!r}")
        if self.size is not None and self.size <= 0:
            raise ValueError(f"size' must be above 0, found {self.size}")
        if not self.mirrors:
            raise ValueError("mirrors' must have at least one address")
        for url in self.mirrors:
            if not allowed(url):
                raise ValueError(f"mirrors' must be https addresses, found {url!r}")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was written down beside a downloaded file, so that a later change is noticed."""

    url: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Check:
    """What lies in the cache for one entry of the manifest."""

    state: Literal["absent", "partial", "verified", "unverified", "changed"]
    """verified: has the published hash. unverified: there is no published hash to hold it against.
    changed: not the published hash, or not the bytes that were downloaded."""
    path: Path
    detail: str
    """One line for the user."""


def allowed(url: str) -> bool:
    """True for https, and for http on this machine itself; never with a user name or password."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:  # no address, or no port, of the form that it should have
        return False
    if not host or parts.username is not None or not url.isascii() or not url.isprintable():
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in _LOCAL_HOSTS)


def read_manifest(path: Path = MANIFEST) -> tuple[Weights, ...]:
    """The entries of a manifest. Raises SettingsError."""
    return build(_Manifest, read_yaml(path)).weights


@dataclass(frozen=True, slots=True)
class _Manifest:
    weights: tuple[Weights, ...]


def cache_folder() -> Path:
    """Where weights are kept: the environment variable PUPPETCAM_CACHE, else the user's cache."""
    chosen = os.environ.get("PUPPETCAM_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return platformdirs.user_cache_path("puppetcam", appauthor=False)


def check(weights: Weights, folder: Path) -> Check:
    """Read the file in ``folder`` once and compare. Raises DownloadError if it cannot be read."""
    path = folder / weights.file
    if not path.is_file():
        part = part_of(path)
        if part.is_file():
            return Check("partial", part, f"{part.stat().st_size:,} bytes so far; pull continues")
        return Check("absent", path, "not downloaded")
    found = file_hash(path)
    if weights.sha256 is not None:
        if found == weights.sha256:
            return Check("verified", path, f"sha256 {found} as published")
        return Check("changed", path, f"sha256 {found}, expected {weights.sha256}")
    receipt = read_receipt(path)
    if receipt is None:
        return Check(
            "unverified", path, f"sha256 {found}; no published hash, no record of a download"
        )
    if receipt.sha256 == found:
        return Check("unverified", path, f"sha256 {found}; no published hash, as downloaded")
    return Check("changed", path, f"sha256 {found}, was {receipt.sha256} when downloaded")


def file_hash(path: Path, algorithm: Literal["sha256", "md5"] = "sha256") -> str:
    """Hexadecimal hash of a whole file. Raises DownloadError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(
                file, lambda: hashlib.new(algorithm, usedforsecurity=algorithm != "md5")
            ).hexdigest()
    except OSError as error:
        raise DownloadError(f"cannot read {path}: {error.strerror or error}") from error


def part_of(path: Path) -> Path:
    """Where a download of ``path`` grows until it is complete and checked."""
    return path.with_name(path.name + ".part")


def read_receipt(path: Path) -> Receipt | None:
    """The receipt beside ``path``; None where there is none that can be read."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(_receipt_of(path).read_text(encoding="utf-8"))
        return Receipt(str(found["url"]), int(found["size"]), str(found["sha256"]))
    return None


def write_receipt(path: Path, receipt: Receipt) -> None:
    """Put ``receipt`` beside ``path``. Raises OSError."""
    text = {"url": receipt.url, "size": receipt.size, "sha256": receipt.sha256}
    _receipt_of(path).write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")


def _receipt_of(path: Path) -> Path:
    return path.with_name(path.name + ".json")

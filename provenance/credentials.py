"""Content Credentials (C2PA) read back: what a file says of its making, and whether it holds.

Everything happens on this computer: no manifest, list or revocation is fetched. Files may be
anybody's, so every text of theirs is made one short printable line. What the signature leaves out
(file type and seek index of an mp4, the padding behind the signature) holds nothing that is shown.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from provenance.c2pa_library import KINDS, LABEL, OFFLINE, SOURCE_TYPES, load_c2pa, one_line

_LARGEST_STATEMENT = 4_000_000
"""Characters; a longer one is not parsed."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What was found in a file."""

    state: Literal["valid", "invalid", "absent", "unreadable", "unavailable"]
    """valid: as it was signed. invalid: changed since, or damaged. absent: there are none.
    unreadable: no picture or film. unavailable: this installation cannot read any."""
    detail: str
    """One line for the user."""
    trusted: bool = False
    """The signer is one of those given as trusted; else anybody may have signed."""
    signer: str = ""
    """The name in the certificate, which proves nothing where it is not trusted."""
    software: str = ""
    source_types: tuple[str, ...] = ()
    """IPTC digital source types, without the address before them."""
    made_at: str = ""
    """ISO 8601, by the clock of the computer that signed."""
    statement: Mapping[str, Any] | None = None
    """Of puppetcam: models and avatars; None where other software made the file."""

    @property
    def says_ai(self) -> bool:
        """The file says that it was made or changed by AI."""
        return any("rainedAlgorithmicMedia" in one for one in self.source_types)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"says_ai": self.says_ai}

    def lines(self) -> list[str]:
        """For the terminal; the first line is the verdict."""
        found = [f"Content Credentials: {self.state}: {self.detail}"]
        if self.state not in ("valid", "invalid"):
            return found
        rows = [
            ("made with", self.software),
            ("made at", self.made_at),
            ("source type", ", ".join(self.source_types)),
            ("signed by", self.signer and f"{self.signer}{'' if self.trusted else ' (untrusted)'}"),
        ]
        statement = self.statement or {}
        for model in map(_mapping, _list(statement.get("models"))):
            kind = ", ".join(filter(None, (one_line(model.get(k)) for k in ("name", "precision"))))
            rows.append(("model", kind))
            for name, digest in sorted(_mapping(model.get("files")).items()):
                rows.append(("", f"{one_line(name)} {one_line(digest)}"))
        for avatar in map(_mapping, _list(statement.get("avatars"))):
            rows.append(("avatar", one_line(avatar.get("sha256"))))
            said = one_line(avatar.get("consent")) or "not said"
            date = one_line(avatar.get("consent_date"))
            rows.append(("whose face", f"{said} (said {date})" if date else said))
        return found + [f"{name:12} {text}" for name, text in rows if text]


def read_credentials(path: Path, trust: bytes = b"") -> Credentials:
    """The credentials in a picture or film. ``trust``: PEM certificates of trusted signers."""
    kind = KINDS.get(path.suffix.lower(), "")
    try:
        with path.open("rb") as stream:
            return read_stream(stream, kind, trust)
    except ImportError as error:
        return Credentials("unavailable", one_line(str(error)))
    except OSError as error:
        return Credentials("unreadable", f"{path} cannot be read: {error.strerror or error}")


def read_stream(stream: Any, kind: str, trust: bytes = b"") -> Credentials:
    """As ``read_credentials``, of a seekable binary stream. ``kind``: its MIME type, a hint; may be
    empty. Raises ImportError where c2pa-python is missing."""
    c2pa = load_c2pa()
    settings = OFFLINE
    if trust:
        settings = settings | {"trust": {"user_anchors": trust.decode("ascii", "replace")}}
    try:
        with (
            c2pa.Context.from_dict(settings) as context,
            c2pa.Reader(kind or None, stream, context=context) as reader,
        ):
            text: str = reader.json()
    except c2pa.C2paError as error:
        return _without(str(error))
    try:
        if len(text) > _LARGEST_STATEMENT:
            raise ValueError("too long")
        store = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Credentials("invalid", f"damaged ({one_line(str(error))})")
    return _understood(_mapping(store))


def _without(error: str) -> Credentials:
    """What it means that the library raised this; the first word is the kind of the error."""
    told = one_line(error.partition(": ")[2] or error)
    kind = error.partition(":")[0]
    if kind == "ManifestNotFound":
        return Credentials("absent", "the file has none")
    if kind == "NotSupported":
        return Credentials("absent", "files of this kind cannot carry any")
    if kind == "Remote":
        return Credentials("absent", "it only names a place on the network, which is not asked")
    if kind == "Io" or "could not be parsed" in error or "Unknown error" in error:
        return Credentials("unreadable", f"no picture or film, or cut off ({told})")
    return Credentials("invalid", f"damaged ({told})")


def _understood(store: Mapping[str, Any]) -> Credentials:
    """What the library's JSON says. Its form is the library's, its texts may be anybody's."""
    manifests = _mapping(store.get("manifests"))
    active = _mapping(manifests.get(str(store.get("active_manifest"))))
    verdict = store.get("validation_state")
    valid, trusted = verdict in ("Valid", "Trusted"), verdict == "Trusted"
    detail = "unchanged since it was signed, by a key that this computer trusts"
    if not trusted:
        detail = "unchanged since it was signed, by a key that nobody vouches for"
    if not valid:
        codes = [
            one_line(_mapping(one).get("code")) for one in _list(store.get("validation_status"))
        ]
        wrong = [code for code in codes if code and code != "signingCredential.untrusted"]
        detail = f"changed or damaged since it was signed ({', '.join(wrong[:3]) or 'no reason'})"
    # A file that was edited later carries the manifest that it had before as well.
    actions = [
        _mapping(action)
        for manifest in [active, *(one for one in manifests.values() if one is not active)]
        for action in _actions(_mapping(manifest))
    ]
    types = [one_line(one.get("digitalSourceType")).removeprefix(SOURCE_TYPES) for one in actions]
    times = [one_line(one.get("when")) for one in actions]
    generators = [_mapping(one) for one in _list(active.get("claim_generator_info"))]
    software = [f"{one_line(one.get('name'))} {one_line(one.get('version'))}" for one in generators]
    signature = _mapping(active.get("signature_info"))
    names = [one_line(signature.get(key)) for key in ("issuer", "common_name")]
    statements = [
        _mapping(_mapping(one).get("data"))
        for one in _list(active.get("assertions"))
        if _mapping(one).get("label") == LABEL
    ]
    return Credentials(
        state="valid" if valid else "invalid",
        detail=detail,
        trusted=trusted,
        signer=", ".join(filter(None, names)),
        software="; ".join(one.strip() for one in software),
        source_types=tuple(dict.fromkeys(filter(None, types))),
        made_at=next(filter(None, times), ""),
        statement=statements[0] if statements else None,
    )


def _actions(manifest: Mapping[str, Any]) -> Iterator[Any]:
    for one in _list(manifest.get("assertions")):
        if one_line(_mapping(one).get("label")).startswith("c2pa.actions"):
            yield from _list(_mapping(_mapping(one).get("data")).get("actions"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

"""Content Credentials (C2PA) written: a signed statement in a file of how it was made.

Signed on this computer: no time stamp is asked for. A live stream has no file and so no
credentials; who copies the pictures into another file leaves them behind.
"""

import base64
import contextlib
import copy
import datetime
import io
import logging
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from config.errors import CredentialsError
from config.schema import CredentialsSettings
from models.bundle import Bundle
from provenance.c2pa_library import (
    COMPOSITE,
    GENERATED,
    KINDS,
    LABEL,
    OFFLINE,
    load_c2pa,
    one_line,
)
from provenance.consent import Consent
from provenance.credentials import read_credentials, read_stream
from provenance.identity import Identity, open_identity

_log = logging.getLogger(__name__)

_TRIAL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
"""A PNG of one pixel."""


class Subject(Protocol):
    """An avatar, as far as it is told of."""

    @property
    def sha256(self) -> str:
        """Of the picture's file."""

    @property
    def consent(self) -> Consent | None:
        """Whose face it is."""


class Signer:
    """Signs finished files. Any thread may call ``sign``."""

    def __init__(self, identity: Identity, software: str, bundle: Bundle) -> None:
        """``software``: version of puppetcam. Signs a picture of one pixel to see that the
        certificate will do. Raises CredentialsError; ImportError where c2pa-python is missing."""
        self._identity = identity
        self._software = {"name": "puppetcam", "version": software}
        self._models = [_described(bundle)]
        trial = io.BytesIO()
        self._write(io.BytesIO(_TRIAL), trial, KINDS[".png"], (), False)
        trial.seek(0)
        found = read_stream(trial, KINDS[".png"], identity.certificates)
        if found.state != "valid":
            raise CredentialsError(f"{identity.name}: cannot sign: {found.detail}")

    def of(self, bundles: Iterable[Bundle]) -> "Signer":
        """The same for what these networks made."""
        other = copy.copy(self)
        other._models = [_described(bundle) for bundle in bundles]
        return other

    def sign(self, path: Path, avatars: Iterable[Subject], composite: bool = False) -> bool:
        """Put credentials into the file, which is whole at every moment.

        avatars: those that are to be seen in it. composite: other pictures are in it as well. Where
        it cannot be, the file stays as it is, a warning is logged, and False returned.
        """
        kind = KINDS.get(path.suffix.lower())
        if kind is None:
            _log.warning(
                "%s has no Content Credentials: files of this kind cannot carry them (%s can)",
                path,
                ", ".join(KINDS),
            )
            return False
        target = path.resolve()  # of a link, the file behind it is replaced
        partial: Path | None = None
        try:
            with (
                target.open("rb") as source,
                tempfile.NamedTemporaryFile(
                    "w+b", dir=target.parent, prefix=".", suffix=target.suffix, delete=False
                ) as signed,
            ):
                partial = Path(signed.name)
                self._write(source, signed, kind, avatars, composite)
                signed.flush()
                os.fsync(signed.fileno())  # before it takes the place of what is safely written
            found = read_credentials(partial, self._identity.certificates)
            if found.state != "valid":
                raise CredentialsError(found.detail)
            partial.chmod(target.stat().st_mode & 0o777)
            os.replace(partial, target)
        except (CredentialsError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            _log.warning("%s is whole, but has no Content Credentials: %s", path, reason)
            return False
        finally:
            if partial is not None:
                with contextlib.suppress(OSError):
                    partial.unlink(missing_ok=True)
        return True

    def sign_picture(
        self, data: bytes, suffix: str, avatars: Iterable[Subject], composite: bool = False
    ) -> bytes:
        """The bytes of a picture file, ``suffix`` ".png" or ".jpg", with credentials; as they were,
        and a warning in the log, where that cannot be."""
        signed = io.BytesIO()
        try:
            self._write(io.BytesIO(data), signed, KINDS[suffix], avatars, composite)
        except CredentialsError as error:
            _log.warning("a snapshot has no Content Credentials: %s", error)
            return data
        return signed.getvalue()

    def _write(
        self, source: Any, target: Any, kind: str, avatars: Iterable[Subject], composite: bool
    ) -> None:
        c2pa = load_c2pa()
        identity = self._identity
        try:
            info = c2pa.C2paSignerInfo(
                identity.algorithm, identity.certificates, identity.key, None
            )
            with (
                c2pa.Context.from_dict(OFFLINE) as context,
                c2pa.Signer.from_info(info) as signer,
                c2pa.Builder(self._manifest(avatars, composite), context=context) as builder,
            ):
                builder.sign(signer, kind, source, target)
        except c2pa.C2paError as error:
            raise CredentialsError(
                f"Content Credentials cannot be signed with {identity.name}: {one_line(str(error))}"
            ) from error

    def _manifest(self, avatars: Iterable[Subject], composite: bool) -> dict[str, Any]:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        created = {
            "action": "c2pa.created",
            "when": now.replace("+00:00", "Z"),
            "digitalSourceType": COMPOSITE if composite else GENERATED,
            "softwareAgent": self._software,
        }
        statement = {"models": self._models, "avatars": [_told(one) for one in avatars]}
        return {
            "claim_generator_info": [self._software],
            "assertions": [
                {"label": "c2pa.actions.v2", "data": {"actions": [created]}, "created": True},
                {"label": LABEL, "data": statement, "created": True},
            ],
        }


def open_signer(settings: CredentialsSettings, bundle: Bundle, software: str) -> Signer | None:
    """What signs the films of this run; None, and a line in the log, where c2pa-python is missing.

    Called before anything is recorded: raises CredentialsError for a key or certificate that will
    not do.
    """
    try:
        load_c2pa()  # first: without it no key is made
        return Signer(open_identity(settings), software, bundle)
    except ImportError as error:
        _log.warning("files get no Content Credentials: %s", one_line(str(error)))
        return None


def _described(bundle: Bundle) -> dict[str, Any]:
    return {
        "name": bundle.name,
        "family": bundle.family,
        "precision": bundle.precision,
        "files": dict(sorted(bundle.files.items())),
    }


def _told(avatar: Subject) -> dict[str, str]:
    consent = avatar.consent
    found = {"sha256": avatar.sha256}
    if consent is not None:
        found |= {"face": consent.face, "consent": consent.statement}
        if consent.date:
            found["consent_date"] = consent.date
    return found

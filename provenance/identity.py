"""Who signs: a private key and its certificate, made at first use or the user's own.

The certificate that is made here names nobody: it says "puppetcam" and that no one has checked who
holds the key. All files that are signed with it can be told to come from the same installation.
"""

import contextlib
import datetime
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from config.errors import CredentialsError
from config.folders import config_folder
from config.schema import CredentialsSettings

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

ORGANISATION = "puppetcam"
COMMON_NAME = "self-made key, identity not checked"
VALID_DAYS = 30 * 365
"""Without a time stamp a signature ends with its certificate: films should outlast that."""
CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
"""Curve -> C2PA's name of the algorithm."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A key that fits its certificate, which is valid now."""

    key: bytes = field(repr=False)
    """PEM, unencrypted."""
    certificates: bytes
    """PEM, that of the key first."""
    algorithm: str
    """As C2PA names it, e.g. "es256"."""
    name: str
    """For messages: the file of the certificate."""


def own_folder() -> Path:
    """Where the key and the certificate lie that are made at first use."""
    return config_folder() / "credentials"


def open_identity(settings: CredentialsSettings, now: datetime.datetime | None = None) -> Identity:
    """The user's key and certificate; where he names none, those of this installation, made now if
    need be. ``now``: aware; default: the clock's. Raises CredentialsError."""
    now = now or datetime.datetime.now(datetime.UTC)
    if settings.key:
        key = _read(Path(settings.key).expanduser(), "credentials.key")
        path = Path(settings.certificate).expanduser()
        return _checked(key, path, _read(path, "credentials.certificate"), now)
    folder = own_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key_path, path = folder / "key.pem", folder / "certificate.pem"
        if not key_path.exists():
            _publish(key_path, _new_key(), 0o600)
        elif os.name == "posix" and key_path.stat().st_mode & 0o077:
            key_path.chmod(0o600)
        key = key_path.read_bytes()
        if not path.exists():
            _publish(path, _new_certificate(key, key_path, now), 0o644)
        return _checked(key, path, path.read_bytes(), now)
    except OSError as error:
        raise CredentialsError(
            f"no key for Content Credentials can be kept in {folder} ({error.strerror}); set "
            "PUPPETCAM_CONFIG to a folder of your own, or give credentials.key and "
            "credentials.certificate"
        ) from error


def trusted_certificates(settings: CredentialsSettings) -> bytes:
    """PEM of the certificates whose signatures this user trusts: that of this installation, where
    there is one, and those of ``credentials.trust``. Raises CredentialsError."""
    own = own_folder() / "certificate.pem"
    found = b""
    with contextlib.suppress(OSError):  # none was made yet
        found = own.read_bytes()
    if settings.trust:
        path = Path(settings.trust).expanduser()
        more = _read(path, "credentials.trust")
        _certificates(more, path)
        found = found.rstrip() + b"\n" + more if found else more
    return found


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialsError(f"{setting}={path} cannot be read: {error.strerror}") from error


def _checked(key_pem: bytes, path: Path, certificates: bytes, now: datetime.datetime) -> Identity:
    """Raises CredentialsError where key and certificate do not fit, or the time is not theirs."""
    from cryptography.hazmat.primitives import serialization

    key = _private_key(key_pem, path)
    certificate = _certificates(certificates, path)[0]
    public = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if certificate.public_key().public_bytes(*public) != key.public_key().public_bytes(*public):
        raise CredentialsError(
            f"{path}: its first certificate is not that of the key; the key's own comes first, "
            "those that vouch for it after it"
        )
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > ends:
        raise CredentialsError(
            f"{path}: this certificate expired on {ends:%Y-%m-%d}; {_renew(path)}"
        )
    if now < begins:
        raise CredentialsError(
            f"{path}: this certificate is valid from {begins:%Y-%m-%d} on, and this computer's "
            f"clock says {now:%Y-%m-%d}; set the clock, or {_renew(path)}"
        )
    plain = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Identity(plain, certificates, _algorithm(key, path), str(path))


def _renew(path: Path) -> str:
    if path.parent == own_folder():
        return f"move {path.parent} away and a new one is made"
    return "renew it, or leave credentials.key and credentials.certificate out"


def _private_key(pem: bytes, path: Path) -> "PrivateKeyTypes":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(pem, None)
    except TypeError as error:
        raise CredentialsError(
            f"the key of {path} is protected by a password; puppetcam signs unattended: give an "
            "unencrypted one (openssl pkey -in KEY -out PLAIN) that only you may read"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CredentialsError(
            f"the key of {path} is no private key in PEM ('-----BEGIN PRIVATE KEY-----')"
        ) from error


def _certificates(pem: bytes, path: Path) -> "list[x509.Certificate]":
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise CredentialsError(
            f"{path} holds no certificate in PEM ('-----BEGIN CERTIFICATE-----')"
        ) from error


def _algorithm(key: "PrivateKeyTypes", path: Path) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in CURVES:
        return CURVES[key.curve.name]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "ps256"
    raise CredentialsError(
        f"the key of {path} is of a kind that Content Credentials do not take; give one of the "
        "curve P-256 (best), P-384 or P-521, Ed25519, or RSA of 2048 bits or more"
    )


def _new_key() -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _new_certificate(key_pem: bytes, key_path: Path, now: datetime.datetime) -> bytes:
    """Self-signed, with what C2PA asks of a signer's certificate (specification 2.2, section on
    X.509 certificates): no CA, digital signatures only, a purpose, and the key's identifiers."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key: ec.EllipticCurvePrivateKey = _private_key(key_pem, key_path)  # type: ignore[assignment]
    public = key.public_key()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, COMMON_NAME),
        ]
    )
    usage = dict.fromkeys(
        (
            "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
            "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
        ),
        False,
    )  # fmt: skip
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        # A day earlier: the clock of another computer may be behind.
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        .add_extension(identifier, critical=False)
        .add_extension(authority, critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _publish(path: Path, data: bytes, mode: int) -> None:
    """Put ``data`` at ``path`` whole; where another process was faster, its file stays."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        if os.name == "posix":
            Path(name).chmod(mode)
        try:
            os.link(name, path)
        except FileExistsError:
            pass
        except OSError:  # a disk without hard links
            os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)

"""A bundle: a folder with ``bundle.json`` and three exported networks. Needs no torch.

The graphs take and give float32, batch 1, pictures (1, 3, side, side) RGB 0..1:

- ``keypoints``: image -> value (1, K, 2), jacobian (1, K, 2, 2), and where the network tells it,
  presence (1,), its confidence 0..1 that it sees a face
- ``avatar``: image -> what the ``frame`` graph wants to know of the avatar, names ``avatar_...``
- ``frame``: avatar_..., avatar_value, avatar_jacobian, value, jacobian -> image; or, of the family
  ``compact``, displacement and rgba, of which ``realtime.carry`` makes the picture

Opening checks every byte of the graphs; it does not know whether the networks are any good.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from config.errors import BundleError

FORMAT_VERSION = 1
MANIFEST = "bundle.json"
GRAPHS = ("avatar", "keypoints", "frame")
LARGEST = 4096
"""Of sizes in pixels and of numbers of keypoints."""
SUFFIXES = {"onnx": "onnx", "torchscript": "pt"}
DEFAULT = Path(__file__).parent / "weights" / "default"
BUNDLES = {"default": DEFAULT, "small": DEFAULT.with_name("small")}
"""What comes with puppetcam, by the names that settings give it."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Bundle:
    """What ``bundle.json`` says."""

    path: Path
    name: str
    family: Literal["first-order", "compact"]
    format: Literal["onnx", "torchscript"]
    precision: str
    """Of weights and arithmetic, e.g. "fp32"."""
    size: int
    """Side of the picture that the avatar graph takes, pixels."""
    output_size: int
    """Side of the frames, and so of the avatar's picture that is kept for them, pixels."""
    keypoint_size: int
    """Side of the driving crop that the keypoint graph takes, pixels."""
    num_keypoints: int
    landmarks: tuple[str, ...]
    """Names (``models.landmarks``) of the keypoints; empty where they were learnt unsupervised."""
    opset: int | None
    """Of the ONNX graphs; None for TorchScript."""
    files: Mapping[str, str]
    """File name -> SHA-256, lower-case hexadecimal."""
    licence: str
    """Of the weights."""
    origin: str
    """Where the weights come from."""
    versions: Mapping[str, str]
    """Library -> version that wrote the bundle."""
    made_of: str = ""
    """SHA-256 of the frame graph that this one was made of by lowering its precision; "": it was
    exported from a checkpoint."""

    def graph(self, name: str) -> Path:
        """The file of the graph ``avatar``, ``keypoints`` or ``frame``."""
        return self.path / graph_file(name, self.format)


def graph_file(name: str, format: Literal["onnx", "torchscript"]) -> str:
    """The file name of a graph in a bundle of this format."""
    return f"{name}.{SUFFIXES[format]}"


def open_bundle(path: Path | None, precision: str = "auto") -> Bundle:
    """The bundle in the folder ``path``, or the shipped default for None; in another precision
    than "auto", that which was made of it and lies beside it (``beside``).

    Raises BundleError for a missing or changed file, a ``bundle.json`` that is not understood, or
    a precision that is not there.
    """
    path = path or BUNDLES["default"]
    if path in BUNDLES.values() and not (path / MANIFEST).is_file():
        raise BundleError(
            f"the shipped bundle is missing from {path}; install puppetcam again, "
            "or name a bundle of your own with engine.bundle=FOLDER"
        )
    bundle = read_manifest(path)
    if precision not in ("auto", bundle.precision):
        bundle = _in_precision(bundle, precision)
    for name, expected in bundle.files.items():
        found = _sha256(bundle.path / name, bundle.path)
        if found != expected:
            raise BundleError(
                f"bundle {bundle.path}: {name} was changed: SHA-256 is {found[:12]}..., "
                f"{MANIFEST} says {expected[:12]}...; fetch or export the bundle again"
            )
    return bundle


def bundle_folder(name: str) -> Path:
    """Of a bundle as settings name it: one of ``BUNDLES``, or its path."""
    return BUNDLES.get(name) or Path(name)


def beside(bundle: Bundle, precision: str) -> Path:
    """Where the bundle of this precision lies that was made of ``bundle``."""
    folder = bundle.path.expanduser().absolute()
    return folder.with_name(f"{folder.name}-{precision}")


def precisions(bundle: Bundle) -> dict[str, Path]:
    """Precision -> folder of ``bundle`` and of those beside it that were made of it as it is."""
    found = {bundle.precision: bundle.path}
    for precision in ("int8", "fp16"):
        folder = beside(bundle, precision)
        if (folder / MANIFEST).is_file() and _made_of(read_manifest(folder), bundle):
            found.setdefault(precision, folder)
    return found


def _in_precision(bundle: Bundle, precision: str) -> Bundle:
    folder = beside(bundle, precision)
    make = (
        f"make it: puppetcam quantize --bundle {bundle.path} --precision {precision} "
        f"--output {folder}"
    )
    if bundle.precision != "fp32" or precision == "fp32":
        raise BundleError(
            f"precision {precision} was asked for and {bundle.path} is {bundle.precision}; name "
            "the bundle that it was made of"
        )
    if not (folder / MANIFEST).is_file():
        raise BundleError(f"no {precision} of {bundle.path}: there is no bundle {folder}; {make}")
    found = read_manifest(folder)
    if not _made_of(found, bundle):
        raise BundleError(f"{folder} was made of other networks than {bundle.path}; {make}")
    return found


def _made_of(one: Bundle, bundle: Bundle) -> bool:
    return one.made_of == bundle.files[bundle.graph("frame").name]


def read_manifest(path: Path) -> Bundle:
    """What ``bundle.json`` in ``path`` says, checked for form only: no other file is opened."""
    path = path.expanduser()
    if not path.exists():
        raise BundleError(f"no bundle at {path}: there is no such folder")
    if not path.is_dir():
        raise BundleError(f"no bundle at {path}: that is a file; name the folder of {MANIFEST}")
    try:
        text = (path / MANIFEST).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BundleError(f"{path} is no bundle: it has no {MANIFEST}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"bundle {path}: {MANIFEST} cannot be read: {error}") from error
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"bundle {path}: {MANIFEST} is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise BundleError(f"bundle {path}: {MANIFEST} must hold a JSON object")
    return _checked(path, found)


def write_manifest(bundle: Bundle) -> None:
    """Write ``bundle.json`` into ``bundle.path``."""
    fields = {
        "format_version": FORMAT_VERSION,
        "name": bundle.name,
        "family": bundle.family,
        "format": bundle.format,
        "precision": bundle.precision,
        "size": bundle.size,
        "output_size": bundle.output_size,
        "keypoint_size": bundle.keypoint_size,
        "num_keypoints": bundle.num_keypoints,
        "landmarks": list(bundle.landmarks),
        "opset": bundle.opset,
        "files": dict(bundle.files),
        "licence": bundle.licence,
        "origin": bundle.origin,
        "versions": dict(bundle.versions),
    } | ({"made_of": bundle.made_of} if bundle.made_of else {})
    text = json.dumps(fields, indent=2, ensure_ascii=False) + "\n"
    (bundle.path / MANIFEST).write_text(text, encoding="utf-8")


def hashes(path: Path, names: tuple[str, ...]) -> dict[str, str]:
    """File name -> SHA-256 of these files in the folder ``path``."""
    return {name: _sha256(path / name, path) for name in names}


def _sha256(file: Path, bundle: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise BundleError(
            f"bundle {bundle}: {file.name} is missing; fetch or export the bundle again"
        ) from error
    except OSError as error:
        raise BundleError(f"bundle {bundle}: {file.name} cannot be read: {error}") from error


def _checked(path: Path, found: dict[str, Any]) -> Bundle:
    # The version first: a newer format may have other fields.
    version = _field(path, found, "format_version", int)
    if version != FORMAT_VERSION:
        raise BundleError(
            f"bundle {path}: format version {version} is unknown, this puppetcam reads "
            f"version {FORMAT_VERSION}; update puppetcam or export the bundle again"
        )
    bundle = Bundle(
        path=path,
        name=_field(path, found, "name", str),
        family=cast(Any, _choice(path, found, "family", ("first-order", "compact"))),
        format=cast(Any, _choice(path, found, "format", tuple(SUFFIXES))),
        precision=_field(path, found, "precision", str),
        size=_count(path, found, "size"),
        output_size=_count(path, found, "output_size"),
        keypoint_size=_count(path, found, "keypoint_size"),
        num_keypoints=_count(path, found, "num_keypoints"),
        landmarks=tuple(_field(path, found, "landmarks", list)),
        opset=None if found.get("format") == "torchscript" else _count(path, found, "opset"),
        files=_texts(path, found, "files"),
        licence=_field(path, found, "licence", str),
        origin=_field(path, found, "origin", str),
        versions=_texts(path, found, "versions"),
        made_of=_field(path, found, "made_of", str) if "made_of" in found else "",
    )
    if not all(isinstance(name, str) for name in bundle.landmarks):
        raise _wrong(path, "landmarks", "a list of names", bundle.landmarks)
    if bundle.landmarks and len(bundle.landmarks) != bundle.num_keypoints:
        raise BundleError(
            f"bundle {path}: {MANIFEST} names {len(bundle.landmarks)} landmarks "
            f"for {bundle.num_keypoints} keypoints"
        )
    for name, digest in bundle.files.items():
        if not _PLAIN_NAME.fullmatch(name):
            raise BundleError(
                f"bundle {path}: {MANIFEST} names the file {name!r}, which is not a plain "
                "file name; do not use this bundle"
            )
        if not _SHA256.fullmatch(digest):
            raise _wrong(path, f"files.{name}", "a SHA-256", digest)
    for graph in GRAPHS:
        if graph_file(graph, bundle.format) not in bundle.files:
            raise BundleError(
                f"bundle {path}: {MANIFEST} lists no {graph_file(graph, bundle.format)}"
            )
    return bundle


def _field(path: Path, found: dict[str, Any], name: str, kind: type) -> Any:
    if name not in found:
        raise BundleError(f"bundle {path}: {MANIFEST} lacks the field '{name}'")
    value = found[name]
    if type(value) is not kind:
        words = {int: "a whole number", str: "a text", list: "a list", dict: "an object"}
        raise _wrong(path, name, words[kind], value)
    return value


def _count(path: Path, found: dict[str, Any], name: str) -> int:
    value: int = _field(path, found, name, int)
    if not 1 <= value <= LARGEST:
        raise _wrong(path, name, f"from 1 to {LARGEST}", value)
    return value


def _choice(path: Path, found: dict[str, Any], name: str, choices: tuple[str, ...]) -> str:
    value: str = _field(path, found, name, str)
    if value not in choices:
        raise _wrong(path, name, " or ".join(choices), value)
    return value


def _texts(path: Path, found: dict[str, Any], name: str) -> dict[str, str]:
    value: dict[str, str] = _field(path, found, name, dict)
    if not all(isinstance(item, str) for item in value.values()):
        raise _wrong(path, name, "an object of texts", value)
    return value


def _wrong(path: Path, name: str, wanted: str, value: object) -> BundleError:
    return BundleError(
        f"bundle {path}: '{name}' in {MANIFEST} must be {wanted}, found {value!r:.80}"
    )

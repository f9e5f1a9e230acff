"""Published First Order Motion Model checkpoints in, strictly and without running their code.

A published ``.pth.tar`` is a ``torch.save`` pickle, not a tar: do not unpack it. The full layout
holds generator, kp_detector, discriminator, optimizers and epoch; the pruned one the first two.
``convert`` writes those two as safetensors, which this module reads as well.
"""

import difflib
import hashlib
import os
import pickle
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from config.errors import CheckpointError
from config.network import known_networks, load_network

NETWORKS = ("generator", "kp_detector")
LICENCE = (
    "The model's code is MIT; its published weights carry no licence of their own, and the terms "
    "of the pictures they were trained on may bind their use."
)

_AGAIN = "use the .pth.tar file exactly as published, or download it again"
_COUNTER = "num_batches_tracked"
_FILTER = "down.weight"

# What old checkpoints hold beside tensors: numbers that numpy pickled (epoch, learning rates).
# Plain number types alone: none of them runs code or holds objects.
_NUMBERS = ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?")
_SCALAR = np.float64(0).__reduce__()[0]  # numpy's maker of scalars, under its old and new name
_SAFE: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(code)) for code in _NUMBERS),
]
# All that torch was seen to raise on cut and damaged files.
_DAMAGE = (
    RuntimeError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    SystemError,
    OSError,
    struct.error,
    pickle.UnpicklingError,
    SafetensorError,
)


@dataclass(frozen=True, slots=True)
class Imported:
    """What ``convert`` wrote."""

    path: Path
    """The safetensors file."""
    config: str
    """The network: a name in ``config/``, or the stem of its YAML file."""
    sha256: str
    """Of the file it came from."""
    values: int
    """Numbers in it."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The two networks of a file."""

    path: Path
    tensors: Mapping[str, Tensor]
    """``generator.*`` and ``kp_detector.*``: on the CPU, float32, finite; counters int64."""
    note: Mapping[str, str]
    """What ``convert`` wrote beside them; empty in published files."""


def load_weights(model: nn.Module, path: Path, network: str) -> None:
    """Fill a FirstOrderModel, of the network of that name, from a file; names and shapes must be
    the model's own.

    Two kinds of names may be there or not: ``num_batches_tracked`` (old files lack it; inference
    does not use it) and the anti-alias filters ``down.weight`` (computed by the model; one in the
    file must agree). Raises CheckpointError.
    """
    model.load_state_dict(_fit(read_checkpoint(path), model, network))


def read_checkpoint(path: Path) -> Checkpoint:
    """A published, pruned or converted file. Raises CheckpointError naming what was found."""
    found, note = _read_safetensors(path) if _is_safetensors(path) else (_read_pickle(path), {})
    return Checkpoint(path, {name: _checked(name, found[name], path) for name in found}, note)


def guess_config(checkpoint: Checkpoint) -> str:
    """Name of the network that a file's own note, its name or its shapes tell.

    Raises CheckpointError where none fits, or where several do and neither note nor name tells
    which.
    """
    fitting = _fitting(checkpoint.tensors)
    if not fitting:
        raise CheckpointError(
            f"{checkpoint.path}: its names and shapes fit none of {', '.join(known_networks())}; "
            f"give its YAML file with --config"
        )
    noted = checkpoint.note.get("config")
    if noted in fitting:
        return noted
    # "vox-adv-cpk.pth.tar" begins as vox-adv-256 does, and less of it as vox-256 does.
    file_name = checkpoint.path.name.lower()
    stems = {name: name.rpartition("-")[0] for name in fitting}
    named = [name for name in fitting if file_name.startswith(stems[name])]
    if named:
        return max(named, key=lambda name: (len(stems[name]), name))
    if len(fitting) == 1:
        return fitting[0]
    raise CheckpointError(
        f"{checkpoint.path}: its shapes fit {', '.join(fitting)} and its name tells none of them; "
        f"say which with --config"
    )


def convert(path: Path, config: str | Path | None, output: Path) -> Imported:
    """Write the two networks of a checkpoint as safetensors, with hash and origin of the file.

    ``config`` None: guessed. ``output`` appears whole or not at all. Raises CheckpointError, and
    SettingsError for an unknown ``config``.
    """
    from models.first_order import FirstOrderModel  # which imports this module

    checkpoint = read_checkpoint(path)
    network = load_network(config or guess_config(checkpoint))
    tensors = _fit(checkpoint, FirstOrderModel(network), network.name)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    note = {
        "format": "pt",
        "origin": path.name,
        "sha256": digest,
        "config": network.name,
        "licence": LICENCE,
    }
    part = output.with_name(output.name + ".part")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        # A copy of each: tensors that share memory cannot be saved.
        save_file({name: value.clone() for name, value in tensors.items()}, part, note)
        os.replace(part, output)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise CheckpointError(f"cannot write {output}: {error}") from error
    return Imported(output, network.name, digest, sum(v.numel() for v in tensors.values()))


def _is_safetensors(path: Path) -> bool:
    """True for safetensors, False for what torch.save writes; all else is an error by its name."""
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error.strerror}") from error
    if not head:
        raise CheckpointError(f"{path} is empty (0 bytes); {_AGAIN}")
    if head[8:10] == b'{"' or head[:10] == b"\x02" + bytes(7) + b"{}":
        return True
    if head[:1] == b"\x80" or head[:4] == b"PK\x03\x04":
        return False
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head[257:262] == b"ustar":
        found = "a real tar archive, which a published .pth.tar is not despite its name"
    elif head[:2] == b"\x1f\x8b":
        found = "a gzip file, which a published .pth.tar is not"
    elif text.startswith((b"<!doctype", b"<html", b"<?xml")):
        found = "a web page (HTML) saved under that name"
    elif text.startswith(b"version https://git-lfs"):
        found = "a Git LFS pointer: the file itself was not fetched"
    elif code := _code_in(path):
        raise CheckpointError(_carries_code(path, code))
    else:
        found = f"no checkpoint: it begins with {head[:16]!r}"
    raise CheckpointError(f"{path} is {found}; {_AGAIN}")


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the note of a safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 - not a dict
    except _DAMAGE as error:
        raise CheckpointError(f"{_damaged(path)} ({_reason(error)})") from error


def _read_pickle(path: Path) -> dict[str, Any]:
    """Name -> what stands there, from a file of torch.save, by torch's loader that runs no code."""
    try:
        # Warnings on pickles that torch did not write come before the error that names them.
        with torch.serialization.safe_globals(_SAFE), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        code = named[1] if named else _code_in(path)
        if code:
            raise CheckpointError(_carries_code(path, code)) from error
        if _is_other_zip(path):
            raise CheckpointError(f"{path} is a zip archive of other files; {_AGAIN}") from error
        raise CheckpointError(f"{_damaged(path)} ({_reason(error)})") from error
    if not isinstance(found, dict):
        raise CheckpointError(
            f"{path} holds a {type(found).__name__}, not {' and '.join(NETWORKS)}"
        )
    tensors: dict[str, Any] = {}
    for network in NETWORKS:
        part = found.get(network)
        if not isinstance(part, dict):
            what = f"a {type(part).__name__} as" if network in found else "no"
            raise CheckpointError(
                f"{path} has {what} '{network}', and holds {_some(found)}; a First Order Motion "
                f"Model checkpoint has the tensors of {' and '.join(NETWORKS)}"
            )
        tensors |= {f"{network}.{name}": value for name, value in part.items()}
    return tensors


def _checked(name: str, value: Any, path: Path) -> Tensor:
    """One entry as a plain tensor of finite numbers."""
    if not isinstance(value, Tensor):
        raise CheckpointError(f"{path}: '{name}' is a {type(value).__name__}, not a tensor")
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
        raise CheckpointError(f"{path}: '{name}' is not a plain tensor but {value.type()}")
    if name.endswith(_COUNTER) and not value.is_complex():
        return value.detach().to(torch.int64)
    if not value.is_floating_point():
        raise CheckpointError(f"{path}: '{name}' holds {value.dtype}, expected torch.float32")
    number = value.detach().to(torch.float32)
    if not number.isfinite().all():
        raise CheckpointError(f"{path}: '{name}' holds NaN or infinity; {_AGAIN}")
    return number


def _fit(checkpoint: Checkpoint, model: nn.Module, network: str) -> dict[str, Tensor]:
    """The tensors under exactly the names of ``model.state_dict()``."""
    path, tensors, wanted = checkpoint.path, checkpoint.tensors, _wanted(model)
    if wrong := _differences(tensors, wanted):
        others = [name for name in _fitting(tensors) if name != network]
        hint = f"; it fits {', '.join(others)}" if others else ""
        raise CheckpointError(f"{path} is not a {network} network: {'; '.join(wrong)}{hint}")
    for name in tensors:
        if name.endswith(_FILTER) and not tensors[name].allclose(wanted[name], atol=5e-4):
            raise CheckpointError(
                f"{path}: '{name}' is not the Gaussian that the {network} network blurs with"
            )
    return {name: tensors.get(name, value) for name, value in model.state_dict().items()}


def _wanted(model: nn.Module) -> dict[str, Tensor]:
    """All that a published file of this model may hold."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _differences(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """What is wrong with names and shapes, in words; empty where nothing is."""
    missing = [name for name in wanted if name not in tensors]
    missing = [name for name in missing if not name.endswith((_COUNTER, _FILTER))]
    extra = [name for name in tensors if name not in wanted]
    wrong = [name for name in tensors.keys() & wanted if tensors[name].shape != wanted[name].shape]
    words = []
    if missing:
        words.append(f"missing {_some(missing)}")
    if extra:
        near = difflib.get_close_matches(extra[0], missing, n=1, cutoff=0.6)
        words.append(f"unknown {_some(extra)}{f' (nearest is {near[0]})' if near else ''}")
    for name in sorted(wrong)[:1]:
        found, shape = tuple(tensors[name].shape), tuple(wanted[name].shape)
        more = f" (and {len(wrong) - 1} more shapes)" if len(wrong) > 1 else ""
        words.append(f"{name} has shape {found}, expected {shape}{more}")
    return words


def _fitting(tensors: Mapping[str, Tensor]) -> list[str]:
    """The networks in ``config/`` with these names and shapes."""
    from models.first_order import FirstOrderModel  # which imports this module

    with torch.device("meta"):  # shapes alone: nothing is computed
        models = {name: FirstOrderModel(load_network(name)) for name in known_networks()}
    return [name for name, model in models.items() if not _differences(tensors, _wanted(model))]


def _code_in(path: Path) -> str | None:
    """The first thing that a pickle would import beside torch and numbers, such as "os.system".

    Reads the pickle's instructions and follows none. A file of torch.save holds up to five pickles.
    """
    texts: list[str] = []
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on odd escapes in damaged texts
            stream: IO[bytes] = file
            if zipfile.is_zipfile(file):
                archive = zipfile.ZipFile(file)  # closes with the file
                names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
                stream = archive.open(names[0])
            else:
                file.seek(0)
            for _ in range(5):
                for operation, argument, _ in pickletools.genops(stream):
                    if operation.name == "GLOBAL":
                        texts += str(argument).split(" ")
                    elif isinstance(argument, str):
                        texts.append(argument)
                    if operation.name in ("GLOBAL", "STACK_GLOBAL") and len(texts) > 1:
                        module, name = texts[-2:]
                        if module.split(".")[0] not in ("torch", "numpy", "collections", "_codecs"):
                            return f"{module}.{name}"
    except (*_DAMAGE, zipfile.BadZipFile):
        return None  # no pickle, or a damaged one
    return None


def _is_other_zip(path: Path) -> bool:
    """Whole, but without the pickle that torch.save puts into its archives."""
    try:
        with zipfile.ZipFile(path) as archive:
            return not any(name.endswith("/data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, *_DAMAGE):
        return False


def _carries_code(path: Path, code: str) -> str:
    return (
        f"{path} is a pickle that carries code ({code}), which was not run; a checkpoint holds "
        f"tensors and numbers only: do not trust this file"
    )


def _damaged(path: Path) -> str:
    return f"{path} ({path.stat().st_size:,} bytes) is cut short or damaged; {_AGAIN}"


def _reason(error: BaseException) -> str:
    """The one line of torch's message that says what was wrong."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    told = [line for line in lines if line.startswith("Unsupported")]
    return (told or lines)[0].split(". ")[0][:120]


def _some(names: Iterable[Any]) -> str:
    """The first names of many."""
    texts = [str(name) for name in names]
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "")

"""``puppetcam export``: a checkpoint to a bundle that the live path runs."""

import argparse
import hashlib
import pickle
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from config.errors import CheckpointError, ExportError, MissingPackageError
from puppetcam.quantize import add_options, quantize, summary

if TYPE_CHECKING:
    from models.bundle import Bundle
    from models.compact import CompactModel


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of this command."""
    parser = commands.add_parser("export", help="write a checkpoint as a bundle to run")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--config",
        default="vox-256",
        help="the network: a name in config/, the path of a YAML file, or 'compact' for what "
        "python -m training wrote (default: %(default)s)",
    )
    parser.add_argument(
        "--format", choices=("onnx", "torchscript"), default="onnx", help="default: %(default)s"
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "int8", "fp16"),
        default="fp32",
        help="int8 and fp16 as puppetcam quantize makes them, with --format onnx only; "
        "default: %(default)s",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="new, or a bundle to replace"
    )
    parser.add_argument("--name", help="of the bundle; default: the name of the folder")
    parser.add_argument(
        "--licence", help="of the weights; default: what is known of published ones"
    )
    parser.add_argument("--origin", help="of the weights; default: the checkpoint and its SHA-256")
    add_options(parser.add_argument_group("with --precision int8 and fp16"))
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.precision != "fp32" and arguments.format != "onnx":
        raise ExportError(
            f"--precision {arguments.precision} is for --format onnx; torchscript stays fp32"
        )
    output: Path = arguments.output
    if arguments.precision == "fp32":
        bundle = _export(arguments, output)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            bundle = quantize(_export(arguments, Path(scratch, output.name)), arguments)
    print(summary(bundle))
    return 0


def _export(arguments: argparse.Namespace, output: Path) -> "Bundle":
    try:
        from export.bundle import export_bundle
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "onnx"):
            raise
        raise MissingPackageError(
            f"export needs {error.name}, which is not installed; "
            'in the folder of puppetcam: pip install ".[export]"'
        ) from error
    from models.checkpoint import LICENCE
    from models.first_order import FirstOrderModel

    checkpoint: Path = arguments.checkpoint
    compact = arguments.config == "compact"
    return export_bundle(
        _compact(checkpoint)
        if compact
        else FirstOrderModel.from_checkpoint(checkpoint, config=arguments.config),
        output,
        format=arguments.format,
        name=arguments.name,
        licence=arguments.licence or ("not stated" if compact else LICENCE),
        origin=arguments.origin or f"{checkpoint.name} (SHA-256 {_sha256(checkpoint)})",
    )


def _compact(path: Path) -> "CompactModel":
    import torch

    from models.compact import CompactModel

    try:
        return CompactModel.of(torch.load(path, map_location="cpu", weights_only=True))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    except (
        RuntimeError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        EOFError,
        pickle.PickleError,
    ) as error:
        raise CheckpointError(
            f"{path} holds no weights of the compact network ({type(error).__name__}); "
            "with --config say which network it is"
        ) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

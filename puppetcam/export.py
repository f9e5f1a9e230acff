"""``puppetcam export``: a checkpoint to a bundle that the live path runs."""

import argparse
import hashlib
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

from config.errors import CheckpointError, MissingPackageError

if TYPE_CHECKING:
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
        "--output", type=Path, required=True, metavar="DIR", help="new, or a bundle to replace"
    )
    parser.add_argument("--name", help="of the bundle; default: the name of the folder")
    parser.add_argument(
        "--licence", help="of the weights; default: what is known of published ones"
    )
    parser.add_argument("--origin", help="of the weights; default: the checkpoint and its SHA-256")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
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
    bundle = export_bundle(
        _compact(checkpoint)
        if compact
        else FirstOrderModel.from_checkpoint(checkpoint, config=arguments.config),
        arguments.output,
        format=arguments.format,
        name=arguments.name,
        licence=arguments.licence or ("not stated" if compact else LICENCE),
        origin=arguments.origin or f"{checkpoint.name} (SHA-256 {_sha256(checkpoint)})",
    )
    megabytes = sum((bundle.path / name).stat().st_size for name in bundle.files) / 1e6
    side = bundle.output_size
    print(f"{bundle.path}: {bundle.family}, {side} px, {bundle.format}, {megabytes:.1f} MB")
    return 0


def _compact(path: Path) -> "CompactModel":
    import torch

    from models.compact import CompactModel

    model = CompactModel()
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    except (
        RuntimeError,
        ValueError,
        LookupError,
        TypeError,
        EOFError,
        pickle.PickleError,
    ) as error:
        raise CheckpointError(
            f"{path} holds no weights of the compact network ({type(error).__name__}); "
            "with --config say which network it is"
        ) from error
    return model


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""``puppetcam export``: a checkpoint to a bundle that the live path runs."""

import argparse
import hashlib
from pathlib import Path

from config.errors import MissingPackageError


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of this command."""
    parser = commands.add_parser("export", help="write a checkpoint as a bundle to run")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--config", default="vox-256", help="of the network: name in config/ or path"
    )
    parser.add_argument("--format", choices=("onnx", "torchscript"), default="onnx")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="new, or a bundle to replace"
    )
    parser.add_argument("--name", help="of the bundle; default: the name of the folder")
    parser.add_argument(
        "--licence", help="of the weights; default: what is known of the checkpoint"
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
            f'export needs {error.name}, which is not installed; pip install "puppetcam[export]"'
        ) from error
    from models.checkpoint import LICENCE
    from models.first_order import FirstOrderModel

    checkpoint: Path = arguments.checkpoint
    model = FirstOrderModel.from_checkpoint(checkpoint, config=arguments.config)
    with checkpoint.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    bundle = export_bundle(
        model,
        arguments.output,
        format=arguments.format,
        name=arguments.name,
        licence=arguments.licence or LICENCE,
        origin=arguments.origin or f"{checkpoint.name} (SHA-256 {digest})",
    )
    megabytes = sum(bundle.path.joinpath(name).stat().st_size for name in bundle.files) / 1e6
    print(f"{bundle.path}: {bundle.family}, {bundle.size} px, {bundle.format}, {megabytes:.1f} MB")
    return 0

"""``puppetcam quantize``: a bundle in int8 or fp16, made of an fp32 one."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from config.errors import MissingPackageError

if TYPE_CHECKING:
    from export.calibration import Person
    from models.bundle import Bundle


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of this command."""
    parser = commands.add_parser("quantize", help="make an int8 or fp16 bundle of an fp32 one")
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="default: the one that ships")
    parser.add_argument(
        "--precision", choices=("int8", "fp16"), default="int8", help="default: %(default)s"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="new, or a bundle to replace; default: beside the bundle, where it is looked for",
    )
    parser.add_argument("--name", help="of the new bundle; default: the name of the folder")
    add_options(parser)
    parser.set_defaults(run=_run)


def add_options(parser: "argparse._ActionsContainer") -> None:
    """Add what ``quantize`` takes."""
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="pictures and videos of people that the network is for, to set the ranges of int8 "
        "by; default: drawn people",
    )
    parser.add_argument(
        "--least-psnr",
        type=float,
        metavar="DB",
        help="refuse a worse picture, PSNR against fp32; default: 34 for compact, 30 for first-"
        "order networks",
    )


def quantize(
    bundle: "Bundle",
    arguments: argparse.Namespace,
    report: Callable[[str], object] = print,
) -> "Bundle":
    """What ``arguments`` (``add_options``, --precision, --output, --name) ask for, made of
    ``bundle``."""
    from models.bundle import beside

    try:
        from export.quantize import quantize_bundle
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("onnx", "onnxruntime", "ml_dtypes"):
            raise
        raise MissingPackageError(
            f"{arguments.precision} needs {error.name}, which is not installed; "
            'in the folder of puppetcam: pip install ".[cpu,export]"'
        ) from error
    precision = arguments.precision
    return quantize_bundle(
        bundle,
        arguments.output or beside(bundle, precision),
        _people(bundle, arguments.pictures, report),
        precision=precision,
        name=arguments.name,
        least_psnr_db=arguments.least_psnr,
        report=report,
    )


def summary(bundle: "Bundle") -> str:
    """One line: what was written, and how large."""
    megabytes = sum((bundle.path / name).stat().st_size for name in bundle.files) / 1e6
    return (
        f"{bundle.path}: {bundle.family}, {bundle.output_size} px, {bundle.format} "
        f"{bundle.precision}, {megabytes:.1f} MB"
    )


def _run(arguments: argparse.Namespace) -> int:
    from models.bundle import open_bundle

    print(summary(quantize(open_bundle(arguments.bundle), arguments)))
    return 0


def _people(
    bundle: "Bundle", folder: Path | None, report: Callable[[str], object]
) -> "list[Person]":
    from contextlib import closing

    from config.schema import EngineSettings
    from export.calibration import drawn_people, people_in
    from realtime.onnx_engine import OnnxEngine

    if folder is None:
        return drawn_people(bundle.output_size)
    settings = EngineSettings(bundle=str(bundle.path), provider="cpu")
    with closing(OnnxEngine(bundle, settings)) as engine:
        return people_in(folder, engine, report)

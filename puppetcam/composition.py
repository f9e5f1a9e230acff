"""``--size``, ``--compose`` and ``--background``: the picture that goes out, in short."""

import argparse
import json
import re

from config.errors import SettingsError


def add_output_arguments(parser: argparse.ArgumentParser, size: str) -> None:
    """The options of a command that makes pictures; ``size``: the help of ``--size``."""
    parser.add_argument("--size", metavar="PX", help=size)
    parser.add_argument(
        "--compose",
        choices=("fit", "crop", "place"),
        help="the moving square whole before a blurred copy (fit), filling the output (crop), or "
        "in its place in the avatar's whole picture (place)",
    )
    parser.add_argument(
        "--background",
        metavar="WHAT",
        help="behind the person: green, alpha (transparent in .mov and .webm files, green "
        "elsewhere), a picture, or avatar (its own)",
    )


def output_settings(arguments: argparse.Namespace) -> list[str]:
    """What was said, as ``group.key=value``. Raises SettingsError."""
    found = []
    if arguments.size is not None:
        match = re.fullmatch(r"([0-9]{1,5})(?:[xX*]([0-9]{1,5}))?", arguments.size)
        if match is None:
            raise SettingsError(f"--size must be like 1280x720, found {arguments.size!r}")
        width, height = match[1], match[2] or match[1]
        found += [f"output.width={int(width)}", f"output.height={int(height)}"]
    if arguments.compose is not None:
        found.append(f"output.compose={arguments.compose}")
    if arguments.background is not None:
        # A path may hold what YAML reads otherwise; JSON's quotes are YAML's too.
        found.append(f"output.background={json.dumps(arguments.background)}")
    return found

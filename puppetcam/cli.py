"""The command line: one subcommand a file, each importing its folder only when chosen."""

import argparse
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from config.errors import PuppetcamError
from puppetcam import (
    __version__,
    animate,
    bench,
    cameras,
    ctl,
    demo,
    doctor,
    evaluate,
    export,
    models,
    profiles,
    quantize,
    run,
    verify,
)

COMMANDS: tuple[ModuleType, ...] = (
    demo,
    run,
    cameras,
    ctl,
    profiles,
    animate,
    bench,
    doctor,
    models,
    export,
    quantize,
    evaluate,
    verify,
)
"""Modules with ``register(commands)``, in the order of the help page."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit code (2: the user's mistake, told in one line)."""
    # Before OpenCV is imported: a missing camera prints up to 25 lines of its own warnings.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "FATAL")
    # A picture of a kilobyte may say that it unpacks to gigabytes.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "100000000")
    parser = argparse.ArgumentParser(prog="puppetcam", description=__doc__.split(":")[0])
    parser.add_argument("--version", action="version", version=f"puppetcam {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.register(commands)
    arguments, rest = parser.parse_known_args(argv)
    # argparse takes only one group of settings; here they may stand between options.
    if all("=" in text and not text.startswith("-") for text in rest) and "settings" in arguments:
        arguments.settings += rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except PuppetcamError as error:
        print(f"puppetcam: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Who read the output has gone (puppetcam models list | head -1): nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ImportError as error:
        if "cannot open shared object file" not in str(error):
            raise
        # OpenCV on a Linux without a desktop.
        print(
            f"puppetcam: this system misses a library ({str(error).partition(':')[0]}); on Debian "
            "and Ubuntu: sudo apt install libgl1 libglib2.0-0",
            file=sys.stderr,
        )
        return 2

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
TRACEBACK = "PUPPETCAM_TRACEBACK"
"""Set in the environment: errors that nobody foresaw are shown with where they happened."""


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
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        code, text = unexpected(error)
        print(f"puppetcam: {text}", file=sys.stderr)
        return code


def unexpected(error: Exception) -> tuple[int, str]:
    """Exit code and one line for what is no ``PuppetcamError``: what it is, what to do."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return 1, "there is no memory left; close other programs, or take a smaller --size"
    if isinstance(error, ImportError) and "cannot open shared object file" in text:
        # OpenCV on a Linux without a desktop.
        return 2, (
            f"this system misses a library ({text.partition(':')[0]}); on Debian and Ubuntu: "
            "sudo apt install libgl1 libglib2.0-0"
        )
    return 1, (
        f"a mistake of puppetcam's own ({type(error).__name__}: {text[:200]}); please report it, "
        f"with what is printed when {TRACEBACK}=1 is set"
    )

"""``python -m bench``: the latency benchmark on its own."""

import argparse
import os
import sys

from bench.command import add_arguments, run
from config.errors import PuppetcamError


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="measure latency from a source to a sink"
    )
    add_arguments(parser)
    try:
        return run(parser.parse_args(argv))
    except PuppetcamError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    raise SystemExit(main())

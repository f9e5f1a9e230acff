"""``puppetcam bench``: latency from the source to a sink, and of the networks alone."""

import argparse

from bench.command import add_arguments


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of this command."""
    add_arguments(commands.add_parser("bench", help="measure latency, stage by stage"))

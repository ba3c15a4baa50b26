"""List the devices: whether each can be used here and, if not, why and what to do."""

from __future__ import annotations

import argparse

from bp_arrays.devices import device_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """This command has none."""


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    print(device_table())
    return 0

"""List the devices: whether each can be used here, how training runs on it; if not, why."""

from __future__ import annotations

import argparse

from bp_arrays.devices import devices
from bp_arrays.execution import path_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """This command has none."""


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    for found, usable, reason, advice in devices():
        said = found.description if usable else reason
        print(f"{found.name:<16} {'yes' if usable else 'no ':<4} {said}")
        more = f"training: {path_of(found)}" if usable else f"-> {advice}"
        print(f"{'':<21} {more}")
    return 0

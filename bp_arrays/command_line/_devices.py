"""List the devices: whether each can be used here, how training runs on it; if not, why."""

from __future__ import annotations

import argparse

from bp_arrays.devices import devices
from bp_arrays.execution import path_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`devices` takes no options."""


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    for device, usable, reason, advice in devices():
        about = device.description if usable else reason
        print(f"{device.name:<16} {'yes' if usable else 'no ':<4} {about}")
        more = f"training: {path_of(device)}" if usable else f"-> {advice}"
        print(f"{'':<21} {more}")
    return 0

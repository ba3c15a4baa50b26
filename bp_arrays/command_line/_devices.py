"""List the devices: availability, and how training runs on each or why it cannot."""

from __future__ import annotations

import argparse

from bp_arrays.devices import devices
from bp_arrays.execution import path_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command has no options."""


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    for device, usable, reason, advice in devices():
        about = device.description if usable else reason
        training = f"training: {path_of(device)}" if usable else f"-> {advice}"
        print(f"{device.name:<16} {'yes' if usable else 'no ':<4} {about}")
        print(f"{'':<21} {training}")

    from bp_arrays.testing import cuda_line

    print(cuda_line())
    return 0

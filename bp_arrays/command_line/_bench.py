"""Measure the training speed of a network of given sizes on each available device."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

from bp_arrays.command_line import _options as options
from bp_arrays.command_line._output_files import check_outputs
from bp_arrays.command_line._speed import Speed, check_sizes, measure_speed
from bp_arrays.devices import Device, device, devices
from bp_arrays.errors import InputError
from bp_arrays.files import write_atomically
from bp_arrays.optimizers import Optimizer, optimizer_named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bp-arrays bench`."""
    add = parser.add_argument
    add(
        "--layers",
        type=options.sizes,
        required=True,
        metavar="N,N,N",
        help="sizes of inputs, hidden layers and classes, such as 784,512,10",
    )
    add("--batch", type=options.count, default=128, help="rows per step (default: 128)")
    add(
        "--device",
        action="append",
        metavar="NAME",
        help="measure this device (repeatable; default: all available devices)",
    )
    add("--optimizer", default="adam", help="name of the optimizer (default: adam)")
    add("--dtype", default="float32", help="float32 or float64 (default: float32)")
    add(
        "--steps", type=options.count, help="number of steps (default: as many as two seconds take)"
    )
    add("--json", type=Path, metavar="FILE", help="write every measured epoch to this file")


def run(args: argparse.Namespace) -> int:
    """Measure one device after the other, and print a line for each."""
    check_outputs({"--json": args.json}, "")
    check_sizes(args.layers)
    optimizer = optimizer_named(args.optimizer)()  # type: ignore[call-arg]
    selected = [device(name).require() for name in args.device or ()] or usable_devices()
    if args.device:
        for target in selected:
            target.dtype(args.dtype)
    speeds: list[Speed] = []
    for target in dict.fromkeys(selected):
        try:
            speed = measure(args, target, optimizer)
        except InputError as error:
            if args.device or target.is_host:
                raise
            print(f"{target.name:<13} not measured: {error}", flush=True)
            continue
        if not speeds:
            print(_head(speed, args), flush=True)
        speeds.append(speed)
        print(_line(speed, speeds[0]), flush=True)
    if args.json is not None:
        write_atomically(args.json.resolve(), _report(args, speeds))
    return 0


def usable_devices() -> list[Device]:
    """List the available devices, without those for checking only."""
    return [s.device for s in devices() if s.usable and not s.device.is_for_checking]


def measure(args: argparse.Namespace, target: Device, optimizer: Optimizer) -> Speed:
    """Measure one device, with a progress line if stderr is a terminal."""
    in_terminal = sys.stderr.isatty()

    def show_progress(epoch: int) -> None:
        if in_terminal:
            print(f"\r\x1b[K{target.name}: epoch {epoch}", end="", file=sys.stderr, flush=True)

    try:
        return measure_speed(
            args.layers, args.batch, target, optimizer, dtype=args.dtype, steps=args.steps,
            progress=show_progress,
        )  # fmt: skip
    finally:
        if in_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _head(speed: Speed, args: argparse.Namespace) -> str:
    layers = speed.layers
    parameters = sum((n + 1) * m for n, m in pairwise(layers))
    return (
        f"{'-'.join(map(str, layers))}, batch {speed.batch}, {args.optimizer}, {args.dtype}: "
        f"{parameters:,} parameters\n"
        f"{'device':<13} {'µs per step':>11} {'samples/s':>12} {'GFLOP/s':>9} {'time':>7}   runner"
    )


def _line(speed: Speed, first: Speed) -> str:
    duration = speed.microseconds_per_step
    ratio = f"{duration / first.microseconds_per_step:.2f}×"
    return (
        f"{speed.device:<13} {duration:>11.1f} {speed.samples_per_second:>12,.0f} "
        f"{speed.gigaflops:>9.1f} {ratio:>7}   {speed.path}, {speed.description}"
    )


def _report(args: argparse.Namespace, speeds: list[Speed]) -> bytes:
    from bp_arrays.testing import _provenance as provenance

    report = {
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "optimizer": args.optimizer,
        "dtype": args.dtype,
        "measured": [
            asdict(speed)
            | {
                "microseconds_per_step": speed.microseconds_per_step,
                "samples_per_second": speed.samples_per_second,
                "gigaflops": speed.gigaflops,
            }
            for speed in speeds
        ],
    }
    return (json.dumps(report, indent=1) + "\n").encode()

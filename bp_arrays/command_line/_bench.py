"""Measure how fast a network of your sizes trains, on each device that can be used here."""

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
    """The options of `bp-arrays bench`."""
    add = parser.add_argument
    add(
        "--layers",
        type=options.sizes,
        required=True,
        metavar="N,N,N",
        help="sizes of inputs, hidden layers and classes, such as 784,512,10",
    )
    add("--batch", type=options.count, default=128, help="rows a step; 128")
    add(
        "--device",
        action="append",
        metavar="NAME",
        help="measure this device (repeatable); by default all that can be used here",
    )
    add("--optimizer", default="adam", help="adam")
    add("--dtype", default="float32", help="float32 or float64")
    add("--steps", type=options.count, help="how many to measure; two seconds of them")
    add("--json", type=Path, metavar="FILE", help="write every measured epoch here")


def run(args: argparse.Namespace) -> int:
    """Measure one device after the other, print a line for each."""
    check_outputs({"--json": args.json}, "")
    check_sizes(args.layers)
    optimizer = optimizer_named(args.optimizer)()  # type: ignore[call-arg]
    chosen = [device(name).require() for name in args.device or ()] or _usable()
    if args.device:
        for place in chosen:
            place.dtype(args.dtype)
    measured: list[Speed] = []
    for place in dict.fromkeys(chosen):
        try:
            speed = _measured(args, place, optimizer)
        except InputError as error:
            if args.device or place.is_host:
                raise
            print(f"{place.name:<13} not measured: {error}", flush=True)
            continue
        if not measured:
            print(_head(speed, args), flush=True)
        measured.append(speed)
        print(_line(speed, measured[0]), flush=True)
    if args.json is not None:
        write_atomically(args.json.resolve(), _report(args, measured))
    return 0


def _usable() -> list[Device]:
    """What can be used here, but for libraries that exist to check: those only by name."""
    return [s.device for s in devices() if s.usable and not s.device.is_for_checking]


def _measured(args: argparse.Namespace, place: Device, optimizer: Optimizer) -> Speed:
    shown = sys.stderr.isatty()

    def watch(epoch: int) -> None:
        if shown:
            print(f"\r\x1b[K{place.name}: epoch {epoch}", end="", file=sys.stderr, flush=True)

    try:
        return measure_speed(
            args.layers, args.batch, place, optimizer, dtype=args.dtype, steps=args.steps,
            watch=watch,
        )  # fmt: skip
    finally:
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _head(speed: Speed, args: argparse.Namespace) -> str:
    layers = speed.layers
    parameters = sum((n + 1) * m for n, m in pairwise(layers))
    return (
        f"{'-'.join(map(str, layers))}, batch {speed.batch}, {args.optimizer}, {args.dtype}: "
        f"{parameters:,} parameters\n"
        f"{'device':<13} {'µs a step':>11} {'samples/s':>12} {'GFLOP/s':>9} {'time':>7}   how"
    )


def _line(speed: Speed, first: Speed) -> str:
    ratio = speed.microseconds_a_step / first.microseconds_a_step
    return (
        f"{speed.device:<13} {speed.microseconds_a_step:>11.1f} {speed.samples_a_second:>12,.0f} "
        f"{speed.gigaflops:>9.1f} {f'{ratio:.2f}×':>7}   {speed.path}, {speed.description}"
    )


def _report(args: argparse.Namespace, measured: list[Speed]) -> bytes:
    from bp_arrays.testing import _provenance as provenance

    report = {
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "optimizer": args.optimizer,
        "dtype": args.dtype,
        "measured": [
            asdict(speed)
            | {
                "microseconds_a_step": speed.microseconds_a_step,
                "samples_a_second": speed.samples_a_second,
                "gigaflops": speed.gigaflops,
            }
            for speed in measured
        ],
    }
    return (json.dumps(report, indent=1) + "\n").encode()

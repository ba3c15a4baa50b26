"""Check that every device gives the same gradients, and that the gradients are right."""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bp_arrays.command_line._output_files import check_outputs
from bp_arrays.devices import ask_for_float64
from bp_arrays.errors import InputError
from bp_arrays.files import write_atomically

if TYPE_CHECKING:
    from bp_arrays.testing import Report

DISAGREES = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bp-arrays check`."""
    add = parser.add_argument
    add("component", nargs="*", metavar="MODULE:NAME", help="your own layer or loss instead")
    add("--input-shape", metavar="N,N", help="of one sample of yours (default: 4)")
    add("--device", action="append", metavar="NAME", help="check this device only (repeatable)")
    add("--require", action="append", default=[], metavar="NAME", help="fail if it does not run")
    add("--only", action="append", default=[], metavar="WORD", help="components named so")
    add("--dtype", action="append", metavar="NAME", help="this dtype only (repeatable)")
    add("--json", type=Path, metavar="FILE", help="write the whole report here; a folder will do")
    add("--html", type=Path, metavar="FILE", help="write the report as a page here")


def run(args: argparse.Namespace) -> int:
    """Run the cases; the exit code is 1 for a disagreement, or a required device not run."""
    names_itself = args.json is not None and args.json.is_dir()
    path = args.json / "check.json" if names_itself else args.json
    check_outputs({"--json": path, "--html": args.html})
    with tempfile.TemporaryDirectory() as folder:
        ask_for_float64(compiled=folder)  # which the reference is in
        report = _checked(args)

    from bp_arrays.testing import cuda_line, to_html

    if names_itself:
        path = path.with_name(_file_name(report))
    if path is not None:
        write_atomically(path.resolve(), json.dumps(report.to_json(), indent=1).encode())
    if args.html is not None:
        write_atomically(args.html.resolve(), to_html(report).encode())
    print(report)
    if any(device.name.startswith("cuda") for device in report.not_run):
        print(cuda_line())
    return 0 if report.ok else DISAGREES


def _checked(args: argparse.Namespace) -> Report:
    from bp_arrays.command_line._components import component
    from bp_arrays.testing import (
        DEVICES,
        DTYPES,
        DTYPES_WITH_HALF,
        check_cases,
        chosen_cases,
        own_cases,
    )

    if args.component and args.only:
        raise InputError("--only chooses among the library's components; leave it out here")
    if args.input_shape is not None and not args.component:
        raise InputError("--input-shape is for a layer of your own: name one, as MODULE:NAME")
    cases = (
        own_cases([component(name) for name in args.component], _input_shape(args))
        if args.component
        else chosen_cases(args.only)
    )
    watched = sys.stderr.isatty()

    def progress(line: str) -> None:
        if watched:
            print(f"\r\x1b[K{line[:78]}", end="", file=sys.stderr, flush=True)

    try:
        return check_cases(
            cases,
            args.device or DEVICES,
            require=args.require,
            dtypes=args.dtype or (DTYPES if args.component else DTYPES_WITH_HALF),
            progress=progress,
        )
    finally:
        progress("")


def _input_shape(args: argparse.Namespace) -> tuple[int, ...]:
    from bp_arrays.command_line._components import shape

    return (4,) if args.input_shape is None else shape(args.input_shape)


def _file_name(report: Report) -> str:
    """`check-<accelerator>-<date>.json`; "cpu" where only the CPU ran."""
    cards = [re.search(r" on ([^,]+)", d.description) for d in report.ran]
    found = [card[1] for card in cards if card]
    card = re.sub(r"[^a-z0-9]+", "-", (found or ["cpu"])[0].lower()).strip("-")
    return f"check-{card}-{datetime.date.fromisoformat(report.date[:10])}.json"

"""Check that all devices give the same gradients, and that the gradients are correct."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from bp_arrays.command_line._options import count, positive
from bp_arrays.command_line._output_files import check_outputs
from bp_arrays.devices import ask_for_float64, device as find_device
from bp_arrays.errors import InputError
from bp_arrays.files import write_atomically

if TYPE_CHECKING:
    from bp_arrays.testing import Report

DISAGREES = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bp-arrays check`."""
    add = parser.add_argument
    add(
        "component",
        nargs="*",
        metavar="MODULE:NAME",
        help="a custom layer or loss to check instead of the library's",
    )
    add("--input-shape", metavar="N,N", help="shape of one sample of a custom layer (default: 4)")
    add("--device", action="append", metavar="NAME", help="check this device only (repeatable)")
    add(
        "--require",
        action="append",
        default=[],
        metavar="NAME",
        help="fail if this device does not run (repeatable)",
    )
    add(
        "--only",
        action="append",
        default=[],
        metavar="WORD",
        help="check components whose name contains this word (repeatable)",
    )
    add("--dtype", action="append", metavar="NAME", help="check this dtype only (repeatable)")
    add(
        "--quick",
        action="store_true",
        help="run one case of each component only, in float32 and float64: a minute, not several",
    )
    add(
        "--functions",
        action="store_true",
        help="list the array functions that a namespace needs; with --device, those it lacks",
    )
    add(
        "--xfail",
        type=Path,
        metavar="FILE",
        help="known faults: one pattern of case names per line, # begins a comment",
    )
    add("--workers", type=count, metavar="N", help="threads that run cases (default: up to 4)")
    add(
        "--timeout",
        type=positive,
        default=300.0,
        metavar="SECONDS",
        help="name a case that does not return within this time, and end (default: 300)",
    )
    add("--json", type=Path, metavar="FILE", help="write the report to this file or folder")
    add("--html", type=Path, metavar="FILE", help="write the report as a web page to this file")


def run(args: argparse.Namespace) -> int:
    """Run the cases; the exit code is 1 for a disagreement, or a required device not run."""
    if "" not in sys.path:
        sys.path.insert(0, "")  # as by `python -m`: a module in the current folder is a device
    if args.functions:
        return _list_functions(args.device or [])
    is_folder = args.json is not None and args.json.is_dir()
    path = args.json / "check.json" if is_folder else args.json
    check_outputs({"--json": path, "--html": args.html})
    with tempfile.TemporaryDirectory() as folder:
        ask_for_float64(compiled=folder)  # the dtype of the reference
        report = _check(args)

    from bp_arrays.testing import cuda_line, to_html

    if is_folder:
        path = path.with_name(_file_name(report))
    if path is not None:
        write_atomically(path.resolve(), json.dumps(report.to_json(), indent=1).encode())
    if args.html is not None:
        write_atomically(args.html.resolve(), to_html(report).encode())
    print(report)
    emulated = [device.name for device in report.ran if device.emulated]
    if emulated:
        print(f"EMULATED on the CPU, no GPU took part: {', '.join(emulated)}")
    print(cuda_line())
    return 0 if report.ok else DISAGREES


def _check(args: argparse.Namespace) -> Report:
    from bp_arrays.command_line._components import component
    from bp_arrays.testing import (
        DEVICES,
        DTYPES,
        DTYPES_WITH_HALF,
        WORKERS,
        check_cases,
        chosen_cases,
        own_cases,
        read_patterns,
    )

    if args.component and args.only:
        raise InputError("--only selects among the library's components; drop it for your own")
    if args.input_shape is not None and not args.component:
        raise InputError("--input-shape: expected a custom layer too, as MODULE:NAME")
    if args.component:
        cases = own_cases([component(name) for name in args.component], _input_shape(args))
    else:
        cases = chosen_cases(args.only)
    xfail = [] if args.xfail is None else read_patterns(args.xfail)
    in_terminal = sys.stderr.isatty()

    def progress(line: str) -> None:
        if in_terminal:
            print(f"\r\x1b[K{line[:78]}", end="", file=sys.stderr, flush=True)

    try:
        return check_cases(
            cases,
            args.device or DEVICES,
            require=args.require,
            dtypes=args.dtype or (DTYPES if args.component or args.quick else DTYPES_WITH_HALF),
            progress=progress,
            workers=args.workers or WORKERS,
            timeout=args.timeout,
            xfail=xfail,
            quick=args.quick,
            kill=os.name == "posix",
        )
    finally:
        progress("")


def _list_functions(devices: list[str]) -> int:
    """Print the functions that a namespace needs, or those that each device lacks."""
    from bp_arrays.testing import DTYPES_NEEDED, functions, missing_functions

    names = functions()
    if not devices:
        print(f"{len(names)} functions of the array API standard that a namespace needs:")
        print(textwrap.fill(", ".join(names), 100, initial_indent="  ", subsequent_indent="  "))
        print(f"dtypes: {', '.join(DTYPES_NEEDED)}")
        return 0
    lacking = 0
    for name in devices:
        device = find_device(name).require()
        missing = missing_functions(device)
        lacking += len(missing)
        print(
            f"{device}: lacks {len(missing)} of {len(names)} functions: {', '.join(missing)}; add "
            "them as the standard defines them"
            if missing
            else f"{device}: has all {len(names)} functions"
        )
    return DISAGREES if lacking else 0


def _input_shape(args: argparse.Namespace) -> tuple[int, ...]:
    from bp_arrays.command_line._components import shape

    return (4,) if args.input_shape is None else shape(args.input_shape)


def _file_name(report: Report) -> str:
    """Return `check-<accelerator>-<date>.json`, with "cpu" if no accelerator ran."""
    matches = [re.search(r" on ([^,]+)", device.description) for device in report.ran]
    accelerators = [match[1] for match in matches if match]
    name = accelerators[0] if accelerators else "cpu"
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"check-{slug}-{datetime.date.fromisoformat(report.date[:10])}.json"

"""Check that every device gives the same gradients, and that the gradients are right."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from bp_arrays.command_line.outputs import check_outputs
from bp_arrays.model.files import write_atomically

DISAGREES = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bp-arrays check`."""
    add = parser.add_argument
    add("--device", action="append", metavar="NAME", help="check this device only (repeatable)")
    add("--require", action="append", default=[], metavar="NAME", help="fail if it does not run")
    add("--only", action="append", default=[], metavar="WORD", help="components named so")
    add("--dtype", action="append", metavar="NAME", help="float32 and float64 unless told")
    add("--json", type=Path, metavar="FILE", help="write the whole report here")


def run(args: argparse.Namespace) -> int:
    """Run the cases; the exit code is 1 for a disagreement, or a required device not run."""
    check_outputs({"--json": args.json}, "")
    os.environ.setdefault("JAX_ENABLE_X64", "1")  # the reference is float64, on JAX too

    from bp_arrays.testing import check_cases, chosen_cases
    from bp_arrays.testing.checking import DEVICES, DTYPES

    watched = sys.stderr.isatty()

    def progress(line: str) -> None:
        if watched:
            print(f"\r\x1b[K{line[:78]}", end="", file=sys.stderr, flush=True)

    report = check_cases(
        chosen_cases(args.only),
        args.device or DEVICES,
        require=args.require,
        dtypes=args.dtype or DTYPES,
        progress=progress,
    )
    progress("")
    if args.json is not None:
        write_atomically(args.json.resolve(), json.dumps(report.to_json(), indent=1).encode())
    print(report)
    return 0 if report.ok else DISAGREES

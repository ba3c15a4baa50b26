"""Plant each fault in a copy of the package, one at a time, and see who catches it.

    python -m tests.mutation [--only WORD] [--new] [--jobs N] [--record]

The library's own check is asked first, on NumPy and array-api-strict and limited to what the
fault touches; if it finds nothing, or has nothing to say of that part, the tests of the room are,
on the same devices, or on all of them for the rooms that know the array libraries by name.
Exit code 1 if a fault survives. `record.json` in this folder has the last outcome of each fault.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from bp_arrays.testing import _provenance as provenance
from tests.mutation.faults import FAULTS, Fault

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
RECORD = Path(__file__).with_name("record.json")
COPIED = ("bp_arrays", "tests", "pyproject.toml", "README.md", "docs")
DEVICES = ("cpu", "strict", "strict:device1")
DISAGREES, TESTS_FAILED = 1, 1
EVERY_DEVICE = ("devices", "execution", "kernels")
"""The rooms whose tests run on every device: their faults may be of one library."""
TIMEOUT = 900


@dataclass(frozen=True)
class Outcome:
    """What became of a fault: caught "by the check", "by tests/<folder>", or not (None)."""

    name: str
    kind: str
    caught: str | None
    seconds: float
    commit: str


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--only", default="", metavar="WORD", help="faults whose name has it")
    parser.add_argument("--new", action="store_true", help="faults that are not in the record yet")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="faults at a time")
    parser.add_argument("--record", action="store_true", help="write each outcome into the record")
    args = parser.parse_args(argv)
    known = _recorded() if args.new else {}
    faults = [f for f in FAULTS if args.only in f.name and f.name not in known]
    if not faults:
        parser.error("no fault is left: drop --new, or check the word after --only")
    with ExitStack() as stack, ThreadPoolExecutor(args.jobs) as pool:
        copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for _ in range(args.jobs):
            copies.put(_copy(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        outcomes = []
        for outcome in pool.map(lambda fault: _in_a_copy(copies, _planted, fault), faults):
            outcomes.append(outcome)
            if args.record:
                _record(outcome)
    caught = [outcome for outcome in outcomes if outcome.caught]
    print(f"caught {len(caught)} of {len(outcomes)}")
    return 0 if len(caught) == len(outcomes) else 1


def _copy(folder: Path) -> Path:
    """Return the folder with a copy of the package and its tests."""
    for name in COPIED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    return folder


def _in_a_copy(copies: queue.SimpleQueue[Path], function: Callable[..., T], argument: object) -> T:
    """Call the function with a copy that nobody else uses meanwhile."""
    copy = copies.get()
    try:
        return function(copy, argument)
    finally:
        copies.put(copy)


def _planted(copy: Path, fault: Fault) -> Outcome:
    """Plant a fault, ask those who must catch it, and take it out again."""
    path = copy / "bp_arrays" / fault.file
    source = path.read_text(encoding="utf-8")
    started = time.perf_counter()
    path.write_text(source.replace(fault.old, fault.new), encoding="utf-8")
    try:
        caught, command = _caught_by(copy, fault)
    finally:
        path.write_text(source, encoding="utf-8")
    seconds = round(time.perf_counter() - started, 1)
    if caught and not _is_green(copy, command):
        print(f"not green without any fault: {' '.join(command)}", flush=True)
        caught = None
    outcome = Outcome(fault.name, fault.kind, caught, seconds, provenance.commit())
    print(f"{caught or 'SURVIVED':<20} {fault.kind:<24} {fault.name}", flush=True)
    return outcome


def _caught_by(copy: Path, fault: Fault) -> tuple[str | None, tuple[str, ...]]:
    """Return who caught the fault, and the last command that was asked."""
    command = _check(fault)
    if fault.only and _run(copy, command) == DISAGREES:
        return "by the check", command
    command = _tests(fault)
    caught = _run(copy, command) == TESTS_FAILED
    return f"by tests/{fault.folder}" if caught else None, command


_green: dict[tuple[str, ...], bool] = {}


def _is_green(copy: Path, command: tuple[str, ...]) -> bool:
    """Return whether a command that caught a fault is content with the sound package."""
    if command not in _green:
        _green[command] = _run(copy, command) == 0
    return _green[command]


def _check(fault: Fault) -> tuple[str, ...]:
    devices = (word for name in DEVICES for word in ("--device", name))
    return ("bp_arrays", "check", *devices, "--only", fault.only)


def _tests(fault: Fault) -> tuple[str, ...]:
    devices = [] if fault.folder in EVERY_DEVICE else [w for d in DEVICES for w in ("--device", d)]
    return ("pytest", "-x", "-q", f"tests/{fault.folder}", *devices)


def _run(copy: Path, command: tuple[str, ...]) -> int:
    """The exit code; a fault that makes it run without end counts as caught by nobody."""
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=copy,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT,
        ).returncode
    except subprocess.TimeoutExpired:
        return -1


def _recorded() -> dict[str, dict[str, object]]:
    """Return the entries of the record by the name of the fault."""
    return {entry["name"]: entry for entry in json.loads(RECORD.read_text())["faults"]}


def _record(outcome: Outcome) -> None:
    """Write an outcome into the record; faults that are not planted any more leave it."""
    entries = _recorded() | {outcome.name: asdict(outcome)}
    kept = [entries[fault.name] for fault in FAULTS if fault.name in entries]
    caught = sum(bool(entry["caught"]) for entry in kept)
    record = {"faults there are": len(FAULTS), "planted": len(kept), "caught": caught}
    RECORD.write_text(json.dumps(record | {"faults": kept}, indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())

"""Covers: benchmarks/on_gpu.sh: its parts, in order, and what one that fails does to the others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bp_arrays as bp
from bp_arrays.testing._evidence import RECORD

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "on_gpu.sh"
PARTS = [
    "devices", "random", "check", "record", "capture", "digits-cuda", "digits-cpu", "bench",
    "speed", "speed-tf32", "tests",
]  # fmt: skip
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a script for a POSIX shell")


def run(out, python, **variables):
    """Run the script with this folder first in the search path; its parts and their outcomes."""
    done = subprocess.run(
        ["bash", str(SCRIPT), str(out)],
        env={**os.environ, **variables, "PATH": f"{python}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    lines = (out / "parts.txt").read_text().splitlines()
    return done, dict(line.removeprefix("== ").split(": ") for line in lines)


def stand_in(folder, body):
    """A python3 that only says what it was told to do."""
    program = folder / "python3"
    program.write_text(f'#!/bin/sh\n{body}\necho "told: $*"\n')
    program.chmod(0o755)
    return folder


def test_every_part_is_run_in_order_and_leaves_its_output(tmp_path):
    done, parts = run(tmp_path / "out", stand_in(tmp_path, ""))
    assert list(parts) == PARTS and done.returncode == 0, done.stdout
    said = {name: (tmp_path / "out" / f"{name}.txt").read_text() for name in parts}
    assert "bp_arrays check --device cuda --require cuda --json" in said["check"]
    assert said["record"].startswith("told: -m benchmarks record ")
    assert said["tests"] == "told: -m pytest --device cuda --require cuda -q\n"
    assert not (tmp_path / "out" / "SHORT").exists()


def test_a_part_that_fails_is_told_and_the_others_run(tmp_path):
    fails = 'case "$*" in *capture*) echo "no graph"; exit 3;; esac'
    done, parts = run(tmp_path / "out", stand_in(tmp_path, fails))
    assert list(parts) == PARTS and done.returncode == 1
    assert parts.pop("capture").startswith("exit code 3 ")
    assert all(outcome.startswith("exit code 0 ") for outcome in parts.values())
    assert "no graph" in done.stdout


def test_on_the_emulated_cuda_device_a_short_run_does_all_parts_and_records_nothing(tmp_path):
    device = bp.device("cuda")
    if not device.availability().usable or not device.is_emulated:
        pytest.skip("needs the emulated CUDA device")
    before = RECORD.read_bytes()
    variables = {"ON_GPU": "short", "PYTHONPATH": str(SCRIPT.parents[1])}
    done, parts = run(tmp_path / "out", Path(sys.executable).parent, **variables)
    assert list(parts) == PARTS and "SHORT RUN: proves and records nothing" in done.stdout
    assert parts.pop("record") == "NOT RUN, this is a short run"
    assert all(outcome.startswith("exit code 0 ") for outcome in parts.values()), done.stdout
    assert done.returncode == 0 and RECORD.read_bytes() == before
    assert list((tmp_path / "out").glob("check-cuda-emulated-on-the-cpu-*.json"))

"""Covers: training in several processes by mpiexec: the same numbers, and failures.

Each test starts one `program.py`, as starting processes costs more than what they compute.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "program.py"
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None or MPIEXEC is None,
    reason='needs mpi4py and mpiexec: pip install "bp_arrays[mpi]"',
)


def start(processes, *words):
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "CUDA_ON_CPU_DEVICES": "2"}
    command = [MPIEXEC, "-n", str(processes), sys.executable, str(PROGRAM), *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=environment, check=False
    )


@pytest.mark.parametrize(
    ("processes", "words", "cases"),
    [
        (2, (), 23),
        (3, ("everything", "blocks"), 2),
        (4, ("accumulated", "fewer"), 2),
    ],
)
def test_several_processes_train_as_one(processes, words, cases):
    done = start(processes, "compare", *words)
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.endswith(": ok")] == [], done.stdout
    assert done.returncode == 0 and len(lines) == cases, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raise", "process 1 of 2: ZeroDivisionError: in a callback; all processes end"),
        ("kill", "KILLED BY SIGNAL: 9|BAD TERMINATION|Killed"),
        ("silent", "waited 2 s for another process"),
    ],
)
def test_a_process_that_fails_ends_the_others(how, message):
    started = time.monotonic()
    done = start(2, "fail", how)
    assert done.returncode != 0 and time.monotonic() - started < 50
    assert any(part in done.stdout + done.stderr for part in message.split("|")), done


def test_two_cuda_devices_train_as_one():
    if importlib.util.find_spec("cupy") is None:
        pytest.skip("needs CuPy on two CUDA devices, which may be emulated")
    done = start(2, "gpus")
    if "needs two" in done.stdout:
        pytest.skip("needs two CUDA devices")
    assert done.stdout.splitlines() == ["MPI: ok", "SummedByMPI: ok"], done
    assert done.returncode == 0, done

"""Covers: a few trials of each fault; with more of them: `python -m tests.faults`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(os.name != "posix", reason="the faults need fork and signals")
def test_nothing_is_lost_or_wrong_after_any_fault():
    # a process of its own, as it forks, which threads of other tests would not survive
    result = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--short"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count(" 0              0 ") == 11, result.stdout

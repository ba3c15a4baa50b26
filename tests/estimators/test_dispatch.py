"""Covers: array API dispatch: computation and predictions are on the device of the input."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn")

from estimators.test_common_checks import environment


def test_arrays_in_and_the_same_kind_of_arrays_out(device):
    said = subprocess.run(
        [sys.executable, Path(__file__).with_name("dispatching.py"), str(device)],
        env=environment(dispatch=True) | {"JAX_ENABLE_X64": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert said.returncode == 0, said.stdout + said.stderr[-3000:]
    assert said.stdout == f"20 estimators on {device}\n"

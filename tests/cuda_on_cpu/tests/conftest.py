"""Tests of the emulated device; those that change its settings start another Python process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest


@pytest.fixture
def python():
    """Run a program with the given environment variables in a process."""

    def run(code: str, **settings: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            timeout=100,
        )

    return run

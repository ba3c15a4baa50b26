"""A file of tests that cannot be imported fails the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_file_of_tests_that_cannot_be_imported_is_an_error(tmp_path):
    here = Path(__file__).parent
    (tmp_path / "conftest.py").write_text((here / "conftest.py").read_text(encoding="utf-8"))
    (tmp_path / "test_broken.py").write_text("from bp_arrays import NoSuchName\n")
    options = ["--doctest-modules", "--doctest-ignore-import-errors", "--import-mode=importlib"]
    plugin = ["-p", "bp_arrays.testing.pytest_plugin", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", "--device", "cpu", *plugin, *options]
    done = subprocess.run(
        [*command, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0, done.stdout
    assert "ERROR test_broken.py" in done.stdout

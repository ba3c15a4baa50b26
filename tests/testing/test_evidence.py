"""What is said of CUDA: only what a recorded run has shown, and whether it still holds."""

from __future__ import annotations

import json

import pytest

from bp_arrays.testing import cases, check_cases, chosen_cases, cuda_line
from bp_arrays.testing._evidence import latest


@pytest.fixture(scope="module")
def report():
    """A report as a GPU machine would have written it."""
    found = check_cases(chosen_cases(["tanh"]), ["cpu"], dtypes=["float32"]).to_json()
    found["devices"][0] |= {
        "name": "cuda:0",
        "description": "CuPy 14.2.0 on NVIDIA H200",
        "errors": {case.name: {"float32": 1.5} for case in cases()},
        "worst_by_dtype": {"float32": 1.5, "float64": 0.25},
    }
    found["date"], found["commit"] = "2026-01-02T03:04:05", "0123456789abcdef"
    return found


def write(folder, report, name="check-h200-2026-01-02.json"):
    (folder / name).write_text(json.dumps(report))


def test_nothing_recorded_is_nothing_verified(tmp_path, report):
    assert cuda_line(tmp_path) == "CUDA never verified: no run on a GPU is recorded"
    cpu = report["devices"][0] | {"name": "cpu"}
    write(tmp_path, report | {"devices": [cpu]}, "check-cpu-2026-01-02.json")
    assert latest(tmp_path) is None


def test_a_run_with_disagreements_verifies_nothing(tmp_path, report):
    write(tmp_path, report | {"ok": False})
    assert latest(tmp_path) is None


def test_the_newest_run_is_named(tmp_path, report):
    write(tmp_path, report)
    write(tmp_path, report | {"date": "2025-01-01"}, "check-h200-2025-01-01.json")
    line = cuda_line(tmp_path)
    assert "last verified 2026-01-02 (CuPy 14.2.0 on NVIDIA H200; commit 0123456789;" in line
    assert "worst eps: float32 1.5, float64 0.2)" in line and "STALE" not in line
    write(tmp_path, report | {"date": "2026-03-01", "commit": report["commit"] + "+changes"})
    assert "commit 0123456789+changes;" in cuda_line(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"devices": 3}', "\x00"])
def test_what_cannot_be_read_verifies_nothing(tmp_path, text):
    (tmp_path / "check-h200-2026-01-02.json").write_text(text)
    assert "CUDA never verified" in cuda_line(tmp_path)


@pytest.mark.parametrize("change", ["source", "cases"])
def test_a_run_of_other_code_is_stale(tmp_path, report, change):
    if change == "source":
        report = report | {"source": "of another day"}
    else:
        one = {"Tanh, ordinary": {"float32": 1.5}}
        report = report | {"devices": [report["devices"][0] | {"errors": one}]}
    write(tmp_path, report)
    assert "STALE: code or cases have changed since" in cuda_line(tmp_path)

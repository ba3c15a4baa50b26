"""Covers: the pytest plugin in a user's test suite, run as a process."""

from __future__ import annotations

import subprocess
import sys

import pytest

import bp_arrays as bp
from bp_arrays.testing.pytest_plugin import parametrize_with_checks

SUITE = """
from dataclasses import dataclass
import bp_arrays as bp
from bp_arrays.testing.pytest_plugin import parametrize_with_checks

@dataclass(frozen=True)
class Wrong(bp.Layer):
    def forward(self, params, a, ctx):
        return -a, lambda delta: (delta, {})

@parametrize_with_checks(bp.Tanh(), bp.Linear(2), input_shape=3)
def test_right(check):
    check()

@parametrize_with_checks(Wrong(), input_shape=3)
def test_wrong(check):
    check()

class ReadsBack(bp.Layer):
    def forward(self, params, a, ctx):
        factor = 2.0 if float(ctx.xp.max(a)) > -1e9 else 3.0
        return a * factor, lambda delta: (delta * factor, {})

@parametrize_with_checks(ReadsBack(), input_shape=3)
def test_reads(check):
    check()

@parametrize_with_checks(bp.Tanh(), input_shape=3, dtypes=["float32"])
def test_narrow(check):
    check()

def test_on_every(device):
    assert device.owns(device.asarray([1.0]))
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "test_layers.py").write_text(SUITE)

    def run(*words):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "bp_arrays.testing.pytest_plugin", "-q", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_layers_are_tested_on_the_devices_asked_for(run):
    code, said = run("--device", "cpu", "--device", "strict", "-k", "right or every")
    assert code == 0, said
    assert "cpu " in said and "strict " in said and "torch:cpu" not in said


def test_a_wrong_backward_fails_by_oracle_and_says_how(run):
    code, said = run("--device", "cpu", "-k", "wrong")
    assert code == 1
    assert "Wrong, ordinary: dx is 2.0e+00 from central differences, everywhere -1 times it" in said


def test_a_required_device_that_cannot_be_used_stops_everything(run):
    if bp.device("cuda").availability().usable:
        pytest.skip("CUDA is there")
    code, said = run("--require", "cuda")
    assert code == 4
    assert "required device cannot be used: cuda:0" in said
    code, said = run("--device", "cpu", "--device", "cuda", "-k", "every")
    assert code == 0
    assert "cuda:0           NOT RUN" in said and "CUDA on hardware: " in said


def test_a_number_read_on_the_host_fails_where_no_gpu_is(run):
    pytest.importorskip("torch", reason="the device without numbers is PyTorch's")
    code, said = run("--device", "cpu", "-k", "reads and hidden")
    assert code == 1
    assert "ReadsBack, ordinary: needs a number on the host" in said


def test_dtypes_are_those_asked_for(run):
    _, said = run("--device", "cpu", "--collect-only", "-k", "narrow and cpu")
    assert "cpu-float32" in said and "float64" not in said and "float16" not in said
    _, said = run("--device", "cpu", "--collect-only", "-k", "right and cpu")
    assert "cpu-float64" in said and "float16" not in said


def test_unknown_dtypes_are_named():
    with pytest.raises(bp.InputError, match="did you mean 'float32'"):
        parametrize_with_checks(bp.Tanh(), input_shape=3, dtypes=["flaot32"])


def test_unknown_devices_are_named(run):
    code, said = run("--device", "cdua")
    assert code == 4
    assert "did you mean 'cuda" in said

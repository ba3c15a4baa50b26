"""Covers: `compiled` quickly and as for training."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.execution import _jit, compiled

pytest.importorskip("jax", reason="JAX is not installed")


def test_an_option_that_xla_does_not_have_is_left_out(monkeypatch, caplog):
    caplog.set_level(logging.INFO, "bp_arrays")
    monkeypatch.setattr(_jit, "QUICK", {"xla_backend_optimization_level": 0, "xla_no_such": True})
    _jit.quick_options.cache_clear()
    try:
        assert _jit.quick_options() == {"xla_backend_optimization_level": 0}
        assert "XLA compiles without xla_no_such" in caplog.text
    finally:
        _jit.quick_options.cache_clear()


def test_code_that_is_compiled_quickly_computes_the_same():
    device = bp.device("jax:cpu")
    x = device.asarray(np.linspace(-3.0, 3.0, 50), "float32")

    def function(x):
        return device.xp.sum(device.xp.tanh(x) * x) / (1.0 + x)

    usual, quick = (compiled(function, device, quickly=quickly)(x) for quickly in (False, True))
    np.testing.assert_allclose(device.to_numpy(quick), device.to_numpy(usual), rtol=1e-6)

"""Compile whole computations by jax.jit.

A training step is a pure function of parameters, optimizer state, batch and per-step scalars, so
it can be compiled as a whole. On devices without a compiler it runs operation by operation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bp_arrays.devices import Device

Step = Callable[..., Any]


def compiled(function: Callable[..., Any], device: Device) -> Callable[..., Any]:
    """Return a pure function of arrays, on JAX compiled by jax.jit, else unchanged."""
    if device.runs_as != "jit":
        return function

    import jax

    traced: Callable[..., Any] = jax.jit(function)
    return traced


def compile_step(step: Step, device: Device, dtype: str) -> Step:
    """Return a training step, on JAX compiled by jax.jit, else unchanged.

    Its arguments are (theta, state, vectors, batch, scalars, counter): scalars is a tuple of Python
    floats, counter a Python int; all others are arrays. For the compiler scalars and counter
    become arrays too, as it would compile each new value of a constant again.
    """
    if device.runs_as != "jit":
        return step

    traced = compiled(step, device)
    host_dtype = np.float64 if dtype == "float64" else np.float32

    def run(theta: Any, state: Any, vectors: Any, batch: Any, scalars: Any, counter: int) -> Any:
        values = tuple(host_dtype(value) for value in scalars)
        with device.activate():
            return traced(theta, state, vectors, batch, values, np.int32(counter))

    return run

"""Whole computations handed to the compiler their backend has.

A training step is a pure function of parameters, optimizer state, batch and per-step scalars, so
a compiler may take it whole. Where there is none it runs as it stands, operation by operation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bp_arrays.devices import Device

Step = Callable[..., Any]


def compiled(function: Callable[..., Any], device: Device) -> Callable[..., Any]:
    """A pure function of arrays as this device runs it best: on JAX, traced whole by jax.jit."""
    if device.runs_as != "jit":
        return function

    import jax

    traced: Callable[..., Any] = jax.jit(function)
    return traced


def compile_step(step: Step, device: Device, dtype: str) -> Step:
    """The step as this device runs it best.

    `step` takes (theta, state, vectors, batch, scalars, counter): scalars a tuple of Python
    floats, counter a Python int; everything else arrays. Under a tracing compiler scalars and
    counter must be arrays too, else each new value would be compiled anew.
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

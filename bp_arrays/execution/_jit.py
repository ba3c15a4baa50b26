"""Compile whole computations by jax.jit.

A training step is a pure function of parameters, optimizer state, batch and per-step scalars, so
it can be compiled as a whole. On devices without a compiler it runs operation by operation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from bp_arrays.devices import Device

logger = logging.getLogger("bp_arrays")

Step = Callable[..., Any]


QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
"""XLA's options for code that runs once or twice: it compiles in a quarter of the time."""


def compiled(
    function: Callable[..., Any], device: Device, *, quickly: bool = False
) -> Callable[..., Any]:
    """Return a pure function of arrays, on JAX compiled by jax.jit, else unchanged.

    Parameters
    ----------
    function : function of arrays
    device : Device
    quickly : bool, default False
        Whether to spend less time on compiling, for code that hardly runs.
    """
    if device.runs_as != "jit":
        return function

    import jax

    options = quick_options() if quickly else None
    traced: Callable[..., Any] = jax.jit(function, compiler_options=options)
    return traced


@cache
def quick_options() -> dict[str, Any]:
    """Return the options of QUICK that this version of XLA has."""
    import jax

    options = {}
    for name, value in QUICK.items():
        try:
            jax.jit(lambda x: x + 1.0, compiler_options={name: value})(1.0)
        except Exception as error:  # an option of another version
            logger.info("XLA compiles without %s: %s", name, error)
        else:
            options[name] = value
    return options


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

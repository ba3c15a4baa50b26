"""An optimizer's update as one CUDA kernel, in place or into new vectors.

The kernel is generated from the same formula as the loop on the CPU. Multiplication and addition
are not fused (`--fmad=false`), so every element is rounded as in the array operations.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

from bp_arrays.execution._formula import DTYPES, Formula, traced

Update = Callable[..., tuple[Any, tuple[Any, ...]]]


class UpdateKernel(NamedTuple):
    """The source that cupy.ElementwiseKernel compiles."""

    inputs: str
    outputs: str
    operation: str


def kernel_of(formula: Formula, *, by_value: bool = False) -> UpdateKernel:
    """Return the formula in C++: vectors of type T, and scalars in double precision.

    The scalars are one vector on the device or, `by_value`, arguments. Outputs may alias inputs:
    every result is computed before the first one is written.
    """
    names = ["theta", *formula.arrays[2:]]
    numbers = ["raw float64 numbers"]
    lines = [f"const double {name} = numbers[{k}]" for k, name in enumerate(formula.scalars)]
    if by_value:
        numbers, lines = [f"float64 {name}" for name in formula.scalars], []
    lines += [f"const double {line}" for line in formula.once]
    lines += [f"const T {line}" for line in formula.each]
    lines += [f"const T r{k} = {result}" for k, result in enumerate(formula.results)]
    lines += [f"new_{name} = r{k}" for k, name in enumerate(names)]
    return UpdateKernel(
        ", ".join([*(f"T {name}_i" for name in formula.arrays), *numbers]),
        ", ".join(f"T new_{name}" for name in names),
        ";\n".join(lines) + ";",
    )


def update_kernel(
    update: Update, states: int, scalars: int, dtype: str, *, elementwise: bool
) -> Callable[..., None] | None:
    """Return the update as a function of (theta, g, state, numbers) that changes theta and state.

    `numbers` is a vector on the device. None if the update is not elementwise arithmetic, or the
    dtype is not in `DTYPES`.
    """
    run = _compiled(update, states, scalars, dtype, elementwise, by_value=False)
    if run is None:
        return None

    def write_over(theta: Any, g: Any, state: tuple[Any, ...], numbers: Any) -> None:
        run(theta, g, *state, numbers, theta, *state)

    return write_over


def fused_update(
    update: Update, states: int, scalars: int, dtype: str, *, elementwise: bool
) -> Update | None:
    """Return the update as one kernel with the signature of `Optimizer.update`, or None."""
    run = _compiled(update, states, scalars, dtype, elementwise, by_value=True)
    if run is None:
        return None

    def into_new_vectors(theta: Any, g: Any, state: Any, scalars: Any, xp: Any) -> Any:
        made = run(theta, g, *state, *scalars)
        return (made[0], tuple(made[1:])) if state else (made, ())

    return into_new_vectors


def _compiled(
    update: Update, states: int, scalars: int, dtype: str, elementwise: bool, *, by_value: bool
) -> Any:
    if dtype not in DTYPES or not elementwise:
        return None
    # A custom optimizer may fail on symbols in any way: then there is no kernel.
    with contextlib.suppress(Exception):
        made = kernel_of(traced(update, states, scalars), by_value=by_value)

        import cupy

        return cupy.ElementwiseKernel(
            made.inputs, made.outputs, made.operation, "bp_arrays_update",
            options=("--fmad=false",),
        )  # fmt: skip
    return None

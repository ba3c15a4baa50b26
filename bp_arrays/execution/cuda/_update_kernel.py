"""An optimizer's update as one CUDA kernel, written over its vectors.

The kernel is made from the same formula as the loop on the CPU. Multiplication and addition are
not merged, so every element goes through the roundings of the array operations.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

from bp_arrays.execution._formula import Formula, traced

DTYPES = ("float32", "float64")


class UpdateKernel(NamedTuple):
    """What cupy.ElementwiseKernel is made from."""

    inputs: str
    outputs: str
    operation: str


def kernel_of(formula: Formula) -> UpdateKernel:
    """The formula in C++: vectors in and out, and one vector of numbers in double precision.

    Outputs may be the inputs: every result is computed before the first one is written.
    """
    names = ["theta", *formula.arrays[2:]]
    lines = [f"const double {name} = numbers[{k}]" for k, name in enumerate(formula.scalars)]
    lines += [f"const double {line}" for line in formula.once]
    lines += [f"const T {line}" for line in formula.each]
    lines += [f"const T r{k} = {result}" for k, result in enumerate(formula.results)]
    lines += [f"new_{name} = r{k}" for k, name in enumerate(names)]
    return UpdateKernel(
        ", ".join([*(f"T {name}_i" for name in formula.arrays), "raw float64 numbers"]),
        ", ".join(f"T new_{name}" for name in names),
        ";\n".join(lines) + ";",
    )


def update_kernel(
    update: Callable[..., Any], states: int, scalars: int, dtype: str, *, elementwise: bool
) -> Callable[..., None] | None:
    """The update as a function of (theta, g, state, numbers) that writes over theta and state.

    None where the update is more than arithmetic with elements, or the dtype is another.
    """
    if dtype not in DTYPES or not elementwise:
        return None
    # An optimizer of the user's own may refuse symbols in any way: then there is no kernel.
    with contextlib.suppress(Exception):
        made = kernel_of(traced(update, states, scalars))

        import cupy

        run = cupy.ElementwiseKernel(
            made.inputs, made.outputs, made.operation, "bp_arrays_update",
            options=("--fmad=false",),
        )  # fmt: skip

        def write_over(theta: Any, g: Any, state: tuple[Any, ...], numbers: Any) -> None:
            run(theta, g, *state, numbers, theta, *state)

        return write_over
    return None

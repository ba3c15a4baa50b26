"""The logistic function, for the activations and losses that are made of it."""

from __future__ import annotations

import functools
from typing import Any

from bp_arrays.kernels._kernel import Kernel
from bp_arrays.typing import Array, Namespace


@Kernel
def logistic(a: Array, *, xp: Namespace) -> Array:
    """σ(a) = 1 / (1 + e⁻ᵃ), from e^−|a| so that nothing overflows and no tail is lost.

    Parameters
    ----------
    a : array, of any float dtype
    xp : namespace of a
    """
    e = xp.exp(-xp.abs(a))
    return xp.where(a >= 0.0, 1.0, e) / (1.0 + e)


@functools.cache
def _cuda_kernel() -> Any:
    import cupy

    operation = "const T e = exp(-abs(a)); h = (a >= T(0) ? T(1) : e) / (T(1) + e)"
    return cupy.ElementwiseKernel("T a", "T h", operation, "bp_arrays_logistic")


@logistic.native("cupy")
def _(a: Array, *, xp: Namespace) -> Array:
    """One kernel instead of seven: the same operations, each rounded as there."""
    return _cuda_kernel()(a)

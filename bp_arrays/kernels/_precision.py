"""Computing in float32 where numbers are stored in half precision."""

from __future__ import annotations

from typing import Any

from bp_arrays.typing import Array, Namespace


def wide_dtype(x: Array, xp: Namespace) -> Any:
    """Return float32 for an array in half precision, else its own dtype.

    float16 overflows at 65504, cannot count beyond 2048, keeps few digits below 6e-5 and rounds
    1e-8 to 0.
    """
    return xp.result_type(x.dtype, xp.float32)


def widened(x: Array, xp: Namespace) -> Array:
    """Return an array in half precision in float32; any other one unchanged."""
    dtype = wide_dtype(x, xp)
    return x if x.dtype == dtype else xp.astype(x, dtype)


def narrowed(x: Array, dtype: Any, xp: Namespace) -> Array:
    """Return an array in a dtype; unchanged if it has it."""
    return x if x.dtype == dtype else xp.astype(x, dtype)

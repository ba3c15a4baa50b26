"""`sum_rows`: sums over many rows that keep their digits in single precision."""

from __future__ import annotations

import math
from typing import Any

from bp_arrays.kernels._kernel import Kernel
from bp_arrays.typing import Array, Namespace

FEW_ROWS = 64
"""Up to so many rows, one sum after the other loses nothing."""


@Kernel
def sum_rows(x: Array, *, device: Any, xp: Namespace) -> Array:
    """Return Σ_n x_nj, the sums of each column, (..., rows, columns) -> (..., columns).

    NumPy adds row after row, and the error grows with their number. Here about √rows rows are
    added at once, by a product with a row of ones, and then the about √rows sums: the error grows
    with √rows, and the product is several times as fast as the sum.

    Parameters
    ----------
    x : array (..., rows, columns), of any float dtype
    device : object
        The device object of the namespace.
    xp : namespace of x
    """
    *leading, rows, columns = x.shape
    if rows <= FEW_ROWS:
        return xp.sum(x, axis=-2)
    width = math.isqrt(rows)
    count = rows // width
    ones = xp.ones((1, count), dtype=x.dtype, device=device)
    blocks = xp.reshape(x[..., : count * width, :], (*leading, count, width * columns))
    total = xp.sum(xp.reshape(ones @ blocks, (*leading, width, columns)), axis=-2)
    if count * width < rows:
        total = total + xp.sum(x[..., count * width :, :], axis=-2)
    return total


# Their sums are accurate and fast, and a product may be rounded to fewer digits on a GPU
@sum_rows.native("cupy")
@sum_rows.native("jax")
@sum_rows.native("torch")
def _(x: Array, *, device: Any, xp: Namespace) -> Array:
    return xp.sum(x, axis=-2)

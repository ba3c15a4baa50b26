"""`add_rows`: the sum of rows by index, the gradient of a table of which rows were taken."""

from __future__ import annotations

import functools
from typing import Any

from bp_arrays.kernels._kernel import Kernel
from bp_arrays.kernels._precision import narrowed, widened
from bp_arrays.typing import Array, Namespace

BLOCK = 2**16
"""Numbers that NumPy adds at once, for each of which it requires an index."""

SMALL_TABLE = 256
"""Rows of a table up to which a matrix product with a one-hot matrix is faster than sorting."""


@Kernel
def add_rows(ids: Array, rows: Array, size: int, *, device: Any, xp: Namespace) -> Array:
    """Return a table of sums of rows: its row v is Σ_i 1[ids_i = v] rows_i.

    Parameters
    ----------
    ids : integer array (n,)
        Each from 0 to size - 1; not checked here.
    rows : array (n, features), of any float dtype
        Rows in half precision are summed in float32.
    size : int
        The number of rows of the table.
    device : object
        The native device for the creation functions of `xp` (None: the default).
    xp : namespace of ids and rows

    Returns
    -------
    array (size, features), of the dtype of rows
    """
    add = _one_hot_product if size <= SMALL_TABLE else _segmented_scan
    return narrowed(add(ids, widened(rows, xp), size, device, xp), rows.dtype, xp)


def _one_hot_product(ids: Array, rows: Array, size: int, device: Any, xp: Namespace) -> Array:
    every = xp.arange(size, dtype=ids.dtype, device=device)
    one_hot = xp.astype(every[:, None] == ids[None, :], rows.dtype)  # (size, n)
    # 0 · ∞ is NaN: of a row that is not finite only its own sum is NaN
    finite = xp.isfinite(rows)
    bad = one_hot @ xp.astype(xp.logical_not(xp.all(finite, axis=1, keepdims=True)), rows.dtype)
    return xp.where(bad > 0.0, float("nan"), one_hot @ xp.where(finite, rows, 0.0))


def _segmented_scan(ids: Array, rows: Array, size: int, device: Any, xp: Namespace) -> Array:
    """Sort the rows by index, then add within each run of equal indices, in log₂ n passes.

    After the pass with distance d, a row is the sum of the last 2d rows of its run up to itself.
    Differences of one cumulative sum over all rows would need one pass, but lose the digits of
    small sums that follow large ones.
    """
    order = xp.argsort(ids, stable=True)
    ids, rows = xp.take(ids, order, axis=0), xp.take(rows, order, axis=0)
    distance, n = 1, ids.shape[0]
    while distance < n:
        same_run = (ids[distance:] == ids[:-distance])[:, None]
        added = rows[distance:, :] + xp.where(same_run, rows[:-distance, :], 0.0)
        rows = xp.concat([rows[:distance, :], added], axis=0)
        distance *= 2
    every = xp.arange(size, dtype=ids.dtype, device=device)
    end = xp.searchsorted(ids, every, side="right")  # after the last row of each run
    last = xp.maximum(end - 1, 0)
    is_used = xp.take(ids, last, axis=0) == every
    return xp.where(is_used[:, None], xp.take(rows, last, axis=0), 0.0)


@add_rows.native("numpy")
def _(
    ids: Array, rows: Array, size: int, *, device: Any, xp: Namespace, out: Array | None = None
) -> Array:
    """Add the rows to a table of zeros one after another: `add_rows_loop` computes the same bits.

    PyTorch adds in this order on the CPU. In float32 a sum of 100,000 rows of one sign is off by
    2e-5; np.add.reduceat, whose sums are pairwise, keeps more digits, in three times the time.
    """
    import numpy as np

    wide = widened(rows, xp)
    planned = out is not None and out.dtype == wide.dtype and out.flags.c_contiguous
    table: Any = out if planned else np.empty((size, rows.shape[1]), dtype=wide.dtype)
    table.fill(0.0)
    _add_in_order(ids, wide, table)
    if out is None:
        return narrowed(table, rows.dtype, xp)
    if not planned:
        out[...] = table
    return out


def _add_in_order(ids: Array, rows: Array, table: Array) -> None:
    """Add each row to that of the table, number by number, which np.add.at does fast for vectors.

    In blocks, as an index is larger than its number.
    """
    import numpy as np

    if table.shape[1] % 2 == 0:  # two numbers as a complex one: half the indices, 2/3 of the time
        pair = np.result_type(table.dtype, np.complex64)
        table, rows = table.view(pair), np.ascontiguousarray(rows).view(pair)
    features = table.shape[1]
    numbers, columns = table.reshape(-1), np.arange(features)
    starts = ids.astype(np.intp)[:, None] * features
    step = max(BLOCK // max(features, 1), 1)
    for first in range(0, ids.size, step):
        places = starts[first : first + step] + columns
        np.add.at(numbers, places.reshape(-1), rows[first : first + step].reshape(-1))


@add_rows.loop("numpy")
def add_rows_loop(table: Any, ids: Any, rows: Any) -> None:
    """Write the sums into a table, in the dtype of the rows; IndexError for an index outside."""
    table[:] = 0.0
    for i in range(ids.size):
        v = ids[i]
        if v < 0 or v >= table.shape[0]:  # it would write into other memory
            raise IndexError("add_rows: an index outside the table")
        for j in range(table.shape[1]):
            table[v, j] += rows[i, j]


@add_rows.native("torch")
def _(ids: Array, rows: Array, size: int, *, device: Any, xp: Namespace) -> Array:
    import torch

    wide = widened(rows, xp)
    table = torch.zeros((size, rows.shape[1]), dtype=wide.dtype, device=wide.device)
    if wide.device.type == "cuda":  # index_add_ would add in an order that changes
        table = table.index_put_((ids,), wide, accumulate=True)
    else:
        table = table.index_add_(0, ids, wide)
    return narrowed(table, rows.dtype, xp)


@add_rows.native("jax")
def _(ids: Array, rows: Array, size: int, *, device: Any, xp: Namespace) -> Array:
    import jax.numpy as jnp

    wide = widened(rows, xp)
    table = jnp.zeros((size, rows.shape[1]), dtype=wide.dtype)
    return narrowed(table.at[ids].add(wide), rows.dtype, xp)


@functools.cache
def _cuda_kernel() -> Any:
    import cupy

    return cupy.ElementwiseKernel(
        "raw T rows, raw I order, raw I start, raw I end, int64 features",
        "T total",
        """
        const ptrdiff_t v = i / features, column = i % features;
        T sum = 0;
        for (ptrdiff_t k = start[v]; k < end[v]; ++k) sum += rows[order[k] * features + column];
        total = sum;
        """,
        "bp_arrays_add_rows",
    )


@add_rows.native("cupy")
def _(ids: Array, rows: Array, size: int, *, device: Any, xp: Namespace) -> Array:
    """Sort, then one thread for each number of the table: scatter_add has no fixed order."""
    if size <= SMALL_TABLE:
        return NotImplemented
    wide = widened(rows, xp)
    order = xp.argsort(ids, stable=True)
    every = xp.arange(size, dtype=ids.dtype, device=device)
    ids = xp.take(ids, order, axis=0)
    start, end = (xp.searchsorted(ids, every, side=side) for side in ("left", "right"))
    table = xp.empty((size, rows.shape[1]), dtype=wide.dtype, device=device)
    _cuda_kernel()(wide, order, start, end, rows.shape[1], table)
    return narrowed(table, rows.dtype, xp)

"""Sparse matrices as rows that are made dense when they are taken: a batch at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.typing import Shape


class SparseRows:
    """A SciPy sparse matrix of numbers, read like a NumPy array of rows.

    `rows[3:7]` and `rows[[5, 2]]` are dense NumPy arrays; the whole never is one unless asked
    for by `np.asarray`.

    Parameters
    ----------
    matrix : scipy.sparse array or matrix (rows, columns)
    """

    ndim = 2

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix.tocsr()
        self.shape: Shape = tuple(matrix.shape)
        self.dtype: np.dtype[Any] = matrix.dtype

    def __getitem__(self, rows: Any) -> np.ndarray[Any, Any]:
        if isinstance(rows, tuple):  # x[start:stop, ...]
            (rows, _) = rows
        return np.asarray(self._matrix[rows].toarray())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        dense: np.ndarray[Any, Any] = self._matrix.toarray()
        return dense if dtype is None else dense.astype(dtype)


def to_sparse_rows(matrix: Any, what: str) -> SparseRows:
    """A SciPy sparse matrix as rows.

    Raises
    ------
    InputError
        If it has not two dimensions or holds no real numbers.
    """
    if len(matrix.shape) != 2 or matrix.dtype.kind not in "biuf":
        raise InputError(
            f"{what}: expected a sparse matrix of real numbers, (rows, columns), got shape "
            f"{tuple(matrix.shape)} and dtype {matrix.dtype}"
        )
    return SparseRows(matrix)

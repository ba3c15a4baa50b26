"""Sparse matrices as rows that are made dense when they are taken: a batch at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.inputs._rows import Rows


class SparseRows(Rows):
    """A SciPy sparse matrix of numbers; its rows are dense when they are taken.

    Parameters
    ----------
    matrix : scipy.sparse array or matrix (rows, columns)
    """

    def __init__(self, matrix: Any) -> None:
        super().__init__(tuple(matrix.shape), matrix.dtype)
        self._matrix = matrix.tocsr()

    def take(self, rows: Any) -> np.ndarray[Any, Any]:
        return np.asarray(self._matrix[rows].toarray())


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

"""`SparseRows`: a sparse matrix whose rows become dense batch by batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.inputs._rows import Rows


class SparseRows(Rows):
    """A SciPy sparse matrix of numbers, whose rows become dense when they are read.

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
    """Return a SciPy sparse matrix as `SparseRows`.

    Raises
    ------
    InputError
        If it is not two-dimensional or does not hold real numbers.
    """
    if len(matrix.shape) != 2 or matrix.dtype.kind not in "biuf":
        raise InputError(
            f"{what}: expected a sparse matrix of real numbers, (rows, columns), got shape "
            f"{tuple(matrix.shape)} and dtype {matrix.dtype}"
        )
    return SparseRows(matrix)

"""`Rows`: host data whose rows become NumPy arrays when they are read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from bp_arrays.typing import Shape


class Rows(ABC):
    """Numbers on the host that become an array batch by batch.

    `rows[3:7]`, `rows[[5, 2]]` and `rows[3]` are NumPy arrays; only `np.asarray` makes one of all
    rows.

    Parameters
    ----------
    shape : tuple of int
        (rows, ...).
    dtype : numpy.dtype
    """

    def __init__(self, shape: Shape, dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype, self.ndim = shape, dtype, len(shape)

    @abstractmethod
    def take(self, rows: Any) -> np.ndarray[Any, Any]:
        """Return the rows of a slice, or of an array of row numbers, in its order."""

    def __getitem__(self, index: Any) -> np.ndarray[Any, Any]:
        rows, *columns = index if isinstance(index, tuple) else (index,)
        if isinstance(rows, (int, np.integer)):
            row = range(len(self))[rows]  # IndexError beyond the last; −1 is the last
            return np.asarray(self.take([row])[(0, *columns)])
        part = self.take(rows)
        return part[(slice(None), *columns)] if columns else part

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        whole = self.take(slice(0, self.shape[0]))
        return whole if dtype is None else whole.astype(dtype)

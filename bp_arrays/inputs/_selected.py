"""`SelectedRows`: some rows of an array, copied when they are read."""

from __future__ import annotations

from typing import Any

import numpy as np

from bp_arrays.inputs._rows import Rows
from bp_arrays.typing import HostArray


class SelectedRows(Rows):
    """The rows with given numbers, without a copy of all of them: x may be larger than memory.

    Parameters
    ----------
    x : array (rows, ...)
    rows : int array
    """

    def __init__(self, x: HostArray, rows: HostArray) -> None:
        super().__init__((len(rows), *x.shape[1:]), x.dtype)
        self._x, self._rows = x, rows

    def take(self, rows: Any) -> HostArray:
        return np.asarray(self._x[self._rows[rows]])

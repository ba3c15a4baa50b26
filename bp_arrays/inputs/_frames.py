"""Read data frames of pandas and polars as arrays."""

from __future__ import annotations

import numbers
from decimal import Decimal
from typing import Any

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.typing import HostArray

NUMBERS = (numbers.Real, Decimal, np.bool_)
"""The types of numbers in a column of Python objects."""


def is_frame(x: Any) -> bool:
    """Return True if x is a DataFrame, LazyFrame or Series of pandas or polars."""
    library = type(x).__module__.partition(".")[0]
    return library in ("pandas", "polars") and type(x).__name__.endswith(("Frame", "Series"))


def frame_to_array(frame: Any, what: str) -> HostArray:
    """Return the numbers of a DataFrame (rows, columns), or of a Series (rows,).

    Raises
    ------
    InputError
        If a column holds text, dates or anything else that is not a number, or a value is missing:
        the message names the column and the row.
    """
    if type(frame).__name__ == "LazyFrame":
        raise InputError(f"{what}: expected a DataFrame, got a LazyFrame; call collect() first")
    if len(frame.shape) == 1:
        return _numbers(frame, what)
    take = frame.iloc if hasattr(frame, "iloc") else frame  # pandas or polars
    columns = (take[:, k] for k in range(frame.shape[1]))
    arrays = [_numbers(column, what) for column in columns]
    array = np.empty(frame.shape, np.result_type(*arrays) if arrays else np.float64)
    for k, values in enumerate(arrays):
        array[:, k] = values  # each row contiguous, though a frame stores columns
    return array


def _numbers(column: Any, what: str) -> HostArray:
    """Return the numbers of one column."""
    where = f"{what}, column {column.name!r}"
    array = np.asarray(column)
    row = _first_missing(column)
    if row is not None:
        raise InputError(
            f"{where}, row {row}: expected a number, got no value; drop or fill such rows"
        )
    if array.dtype.kind == "O":
        rows = (row for row, value in enumerate(array) if not isinstance(value, NUMBERS))
        row = next(rows, None)
        if row is None:
            return array.astype(np.float64)
        raise InputError(
            f"{where}, row {row}: expected a number, got {array[row]!r:.60} (dtype "
            f"{column.dtype}); drop the column or convert it to numbers"
        )
    if array.dtype.kind not in "biuf" or array.ndim != 1:
        raise InputError(
            f"{where}: expected numbers, got dtype {column.dtype}; drop the column or convert it "
            "to numbers"
        )
    return array


def _first_missing(column: Any) -> int | None:
    """Return the first row without a value, or None; a float NaN counts as a value here."""
    if hasattr(column, "is_null"):
        missing = np.asarray(column.is_null())
    elif isinstance(column.dtype, np.dtype) and column.dtype.kind == "f":
        return None
    else:
        missing = np.asarray(column.isna())
    return int(np.argmax(missing)) if missing.any() else None

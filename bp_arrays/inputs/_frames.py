"""Data frames of pandas and polars as arrays; a column that holds no numbers is named."""

from __future__ import annotations

import numbers
from decimal import Decimal
from typing import Any

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.typing import HostArray

NUMBERS = (numbers.Real, Decimal, np.bool_)
"""What counts as a number in a column of Python objects."""


def is_frame(x: Any) -> bool:
    """Whether x is a DataFrame, LazyFrame or Series of pandas or polars."""
    library = type(x).__module__.partition(".")[0]
    return library in ("pandas", "polars") and type(x).__name__.endswith(("Frame", "Series"))


def frame_to_array(frame: Any, what: str) -> HostArray:
    """The numbers of a DataFrame (rows, columns), or of a Series (rows,).

    Raises
    ------
    InputError
        If a column holds text, dates, or anything else that is no number, or no value at all
        somewhere: the message names column and row.
    """
    if type(frame).__name__ == "LazyFrame":
        raise InputError(f"{what} is a LazyFrame, which holds no numbers yet: collect() it first")
    if len(frame.shape) == 1:
        return _numbers(frame, what)
    take = frame.iloc if hasattr(frame, "iloc") else frame  # pandas or polars
    columns = (take[:, k] for k in range(frame.shape[1]))
    arrays = [_numbers(column, what) for column in columns]
    array = np.empty(frame.shape, np.result_type(*arrays) if arrays else np.float64)
    for k, values in enumerate(arrays):
        array[:, k] = values  # the rows lie together, whatever the frame does
    return array


def _numbers(column: Any, what: str) -> HostArray:
    """The numbers of one column."""
    where = f"{what}, column {column.name!r}"
    array = np.asarray(column)
    row = _first_missing(column)
    if row is not None:
        raise InputError(f"{where}, row {row} has no value: drop such rows or fill them first")
    if array.dtype.kind == "O":
        odd = (row for row, value in enumerate(array) if not isinstance(value, NUMBERS))
        row = next(odd, None)
        if row is None:
            return array.astype(np.float64)
        raise InputError(
            f"{where}, row {row}: expected a number, got {array[row]!r:.60} (dtype "
            f"{column.dtype}): drop the column or make numbers of it first"
        )
    if array.dtype.kind not in "biuf" or array.ndim != 1:
        raise InputError(
            f"{where}: expected numbers, got dtype {column.dtype}: drop the column or make "
            "numbers of it first"
        )
    return array


def _first_missing(column: Any) -> int | None:
    """The first row without a value; a float that is NaN is one, which is looked for later."""
    if hasattr(column, "is_null"):
        missing = np.asarray(column.is_null())
    elif isinstance(column.dtype, np.dtype) and column.dtype.kind == "f":
        return None
    else:
        missing = np.asarray(column.isna())
    return int(np.argmax(missing)) if missing.any() else None

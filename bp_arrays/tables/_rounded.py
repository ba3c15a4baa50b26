"""Whole numbers beyond 2^53 that float64 rounds: a column of them would lose its differences."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from bp_arrays.errors import DataError
from bp_arrays.inputs import pieces
from bp_arrays.tables._cells import exact_number
from bp_arrays.typing import HostArray

EXACT = 2**53
"""Up to this absolute value, every whole number is a float64."""


def is_rounded(cell: str, value: float) -> bool:
    """Return whether a number beyond 2^53, written with all its digits, is rounded to `value`.

    A number that a program wrote as the shortest text of a float64 is not, nor is one with an
    exponent: such texts are of floats.

    >>> is_rounded("9007199254740993", 9007199254740992.0)
    True
    >>> is_rounded("9007199254740994", 9007199254740994.0), is_rounded("0.1", 0.1)
    (False, False)
    """
    if -EXACT < value < EXACT or "e" in cell.lower():
        return False
    number = exact_number(cell)
    return number is not None and number not in (Decimal(value), Decimal(repr(value)))


def first_rounded(values: HostArray) -> tuple[int, ...] | None:
    """Return the index of the first whole number in an array that float64 rounds, or None.

    >>> first_rounded(np.array([2**53, 2**53 + 1])), first_rounded(np.array([2**62]))
    ((1,), None)
    """
    if values.dtype.kind not in "iu" or values.dtype.itemsize < 8:
        return None
    for start, part in pieces(values):
        magnitude = np.abs(part).astype(np.uint64)  # also of −2⁶³, which is its own absolute value
        if not magnitude.size or magnitude.max() <= EXACT:
            continue
        # a float64 has 53 bits from the first 1 to the last
        last = np.maximum(magnitude & (~magnitude + np.uint64(1)), np.uint64(1))
        rounded = np.argwhere(magnitude // last > EXACT)
        if len(rounded):
            row, *rest = rounded[0].tolist()
            return (start + row, *rest)
    return None


def rounded_error(where: str, value: object) -> DataError:
    """Return the error for a number at this location that float64 rounds."""
    return DataError(
        f"{where}: expected numbers that float64 can tell apart, got {value}, a number beyond 2^53 "
        "that it rounds; subtract a constant from the column, or exclude it"
    )

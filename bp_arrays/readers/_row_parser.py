"""`RowParser`: the numbers in the feature cells of a table's rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter

from bp_arrays.errors import DataError
from bp_arrays.tables import (
    EXACT,
    MISSING_WORDS,
    TRUTH,
    has_comma,
    is_rounded,
    number,
    rounded_error,
    truth,
)


class RowParser:
    """Convert the feature cells of each row to numbers.

    A column whose first cell is true or false holds nothing else, and counts as 1 and 0, as
    booleans in Parquet do.

    Parameters
    ----------
    names : sequence of str
        All column names.
    features : sequence of int
        The columns to convert, in this order.
    """

    def __init__(self, names: Sequence[str], features: Sequence[int]) -> None:
        self._names, self._features = names, features
        self._pick = _picker(features)
        self._parsers: list[Callable[[str], float]] = []
        self._only_numbers = False

    def parse(self, row: list[str], where: str) -> list[float]:
        """Return the numbers of one row; `where` locates it in messages.

        Raises
        ------
        DataError
            If a cell holds something else, or a whole number that float64 rounds; the message
            names the column.
        """
        cells = self._pick(row)
        if not self._parsers:
            self._parsers = [truth if cell.strip() in TRUTH else number for cell in cells]
            self._only_numbers = truth not in self._parsers
        try:
            if self._only_numbers:
                values = list(map(number, cells))
            else:
                values = [parse(cell) for parse, cell in zip(self._parsers, cells, strict=True)]
        except ValueError:
            raise self._error(cells, where) from None
        if max(values) >= EXACT or min(values) <= -EXACT:
            self._check_not_rounded(cells, values, where)
        return values

    def _check_not_rounded(self, cells: Sequence[str], values: list[float], where: str) -> None:
        for k, (cell, value) in enumerate(zip(cells, values, strict=True)):
            if is_rounded(cell, value):
                name = self._names[self._features[k]]
                raise rounded_error(f"{where}, column {name!r}", cell.strip())

    def _error(self, cells: Sequence[str], where: str) -> DataError:
        k = next(
            k
            for k, (p, cell) in enumerate(zip(self._parsers, cells, strict=True))
            if _fails(p, cell)
        )
        cell = cells[k].strip()
        kind = "missing value" if cell in MISSING_WORDS else "text"
        value = f"the {kind} {cells[k]!r:.60}" if cell else "an empty cell"
        expected, advice = "a number", "correct it, drop the row, or exclude the column"
        if self._parsers[k] is truth:
            expected = "true or false as in the first row"
        elif has_comma(cell):
            advice = "write decimals with a point"
        return DataError(
            f"{where}, column {self._names[self._features[k]]!r}: expected {expected}, got "
            f"{value}; {advice}"
        )


def _fails(parse: Callable[[str], float], cell: str) -> bool:
    try:
        parse(cell)
    except ValueError:
        return True
    return False


def _picker(columns: Sequence[int]) -> Callable[[list[str]], Sequence[str]]:
    """Return a fast function that selects cells; `itemgetter` of one column gives no tuple."""
    if len(columns) == 1:
        return itemgetter(slice(columns[0], columns[0] + 1))
    return itemgetter(*columns)

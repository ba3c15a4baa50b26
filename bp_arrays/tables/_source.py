"""`Source`: a table that is read piece by piece, from a file or a data frame."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from bp_arrays.errors import DataError
from bp_arrays.typing import HostArray

Kind = Literal["cells", "number", "text", "date", "other"]
"""What a column holds. "cells" are texts that may be numbers, as in a file of CSV."""

Piece = list[list[str] | HostArray]
"""Some rows, column by column: texts, "" for a missing one; or float64 numbers, NaN for that."""


class Source(ABC):
    """A table with named columns.

    Parameters
    ----------
    name : str
        Its name in messages.
    kinds : dict of str to Kind
        The kind of each column that has a name, in the order of the table.
    passed_over : dict of str to str
        Descriptions of columns that are never read, and why.
    """

    name: str
    kinds: dict[str, Kind]
    passed_over: dict[str, str]

    @abstractmethod
    def pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        """Yield these columns, some rows at a time, from the first row on."""

    @abstractmethod
    def locate(self, row: int, name: str) -> str:
        """Describe the location of a cell that was read, for messages."""


def column_index(table: object, name: str, positions: Mapping[str, int], role: str) -> int:
    """Return the index of the column with this name.

    Raises
    ------
    DataError
        If there is none, with the nearest name that exists.
    """
    if name in positions:
        return positions[name]
    lower = {known.lower(): known for known in reversed(list(positions))}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    hint = f" did you mean {lower[near[0]]!r}?" if near else ""
    raise DataError(f"{table} has no {role} {name!r}:{hint} It has: {first_names(list(positions))}")


def first_names(names: Sequence[str], shown: int = 12) -> str:
    """Return the first names, separated by commas.

    >>> first_names(["a", "b", "c"], 2)
    'a, b, ...'
    """
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")

"""`FrameSource`: a DataFrame of pandas or polars as a table."""

from __future__ import annotations

import numbers
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from bp_arrays.errors import DataError, InputError
from bp_arrays.tables._reading import cells_like
from bp_arrays.tables._rows import TableRows
from bp_arrays.tables._source import Kind, Piece, Source
from bp_arrays.tables._spec import TableSpec
from bp_arrays.typing import HostArray


class FrameSource(Source):
    """A DataFrame, whose columns of objects may hold anything.

    Parameters
    ----------
    frame : pandas or polars DataFrame
    name : str
        Its name in messages.
    """

    def __init__(self, frame: Any, name: str) -> None:
        if len(getattr(frame, "shape", ())) != 2:
            raise InputError(
                f"{name}: expected a DataFrame, got a {type(frame).__name__}; call to_frame() or "
                "collect() first"
            )
        self.name, self.passed_over = name, {}
        names = [str(column) for column in frame.columns]
        repeated = next((column for column in names if names.count(column) > 1), None)
        if repeated is not None:
            raise DataError(
                f"{name}: expected distinct column names, got {repeated!r} twice; rename one"
            )
        take = frame.iloc if hasattr(frame, "iloc") else frame  # pandas or polars
        self._columns = {column: take[:, k] for k, column in enumerate(names)}
        self.kinds = {column: _kind(series) for column, series in self._columns.items()}

    def pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        if names and len(self._columns[names[0]]):
            yield [_values(self._columns[name], self.kinds[name]) for name in names]

    def locate(self, row: int, name: str) -> str:
        return f"{self.name}, column {name!r}, row {row}"


def frame_samples(frame: Any, spec: TableSpec) -> tuple[TableRows, list[str]]:
    """Return the rows of a DataFrame as the model with this specification takes them, and notes.

    Raises
    ------
    InputError, DataError
        As `cells_like`.
    """
    cells, _, notes = cells_like(FrameSource(frame, "x"), spec)
    return TableRows(spec, cells), notes


def _kind(series: Any) -> Kind:
    """Return the kind of a column of pandas or polars."""
    dtype = str(series.dtype).lower()
    if dtype.startswith(("date", "time", "duration", "period")):
        return "date"
    if dtype.startswith(("bool", "int", "uint", "float", "decimal")):
        return "number"
    if dtype.startswith(("str", "large_string", "categor", "cat", "enum", "utf8")):
        return "text"
    kinds = {type(value) for value in series.to_list() if not _is_missing(value)}
    if all(issubclass(kind, (numbers.Real, Decimal, np.bool_)) for kind in kinds):
        return "number"
    if all(issubclass(kind, str) for kind in kinds):
        return "text"
    if any("date" in kind.__name__.lower() or "time" in kind.__name__.lower() for kind in kinds):
        return "date"
    simple = (str, numbers.Real, Decimal, np.bool_)
    return "text" if all(issubclass(kind, simple) for kind in kinds) else "other"


def _is_missing(value: Any) -> bool:
    # NaN of any type is the one value that is not itself; pandas.NA is neither true nor false
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


def _are_truths(values: list[Any]) -> bool:
    """Return whether all values that are not missing are true or false, and there are any."""
    present = [value for value in values if not _is_missing(value)]
    return bool(present) and all(isinstance(value, (bool, np.bool_)) for value in present)


def _values(series: Any, kind: Kind) -> list[str] | HostArray:
    """Return texts, "" for a missing one; or numbers, NaN for that.

    True and False with gaps are texts: they are 1 and 0 as numbers, and have names as classes.
    """
    array = np.asarray(series)
    if kind == "number" and array.dtype.kind in "biuf":
        return array
    values = series.to_list()
    if kind == "number" and not _are_truths(values):
        return np.array([np.nan if _is_missing(v) else float(v) for v in values], np.float64)
    return ["" if _is_missing(value) else str(value) for value in values]

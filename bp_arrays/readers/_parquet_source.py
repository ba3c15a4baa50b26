"""`ParquetSource`: a Parquet table of typed columns (extra: parquet)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bp_arrays.readers._parquet_table import Group, ParquetTable, parquet_files
from bp_arrays.readers._parsing import parsing
from bp_arrays.tables import Kind, Piece, Source
from bp_arrays.typing import HostArray


class ParquetSource(Source):
    """A Parquet file or a folder of them, read row group by row group.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self._table = ParquetTable(parquet_files(path))
        self.name = str(self._table.path)
        kinds = {name: _kind(self._table, name) for name in self._table.names}
        self.kinds = {name: kind for name, kind in kinds.items() if name}
        self.passed_over = {"a column": "it has no name"} if "" in kinds else {}
        self._firsts = np.cumsum([0, *(group.rows for group in self._table.groups)])

    def pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        for group in self._table.groups:
            if group.rows:
                yield [self._values(group, name) for name in names]

    def locate(self, row: int, name: str) -> str:
        block = int(np.searchsorted(self._firsts, row, side="right")) - 1
        first = int(self._firsts[block])
        return self._table.describe_location(self._table.groups[block], row - first, name)

    def _values(self, group: Group, name: str) -> list[str] | HostArray:
        column, present = self._table.column(group, name, required=False)
        kind = self.kinds[name]
        with parsing(group.path, "Parquet file"):
            if kind == "number" and present.all():
                return np.asarray(column.to_numpy())
            is_truth = self._table.holds_truth(name)  # as text, which has names as classes
            if kind == "number" and not is_truth:
                values = np.full(len(column), np.nan)
                values[present] = column.drop_null().to_numpy()
                return values
            if self._table.holds_decimals(name):
                return ["" if v is None else format(v, "f") for v in column.to_pylist()]
            return ["" if value is None else str(value) for value in column.to_pylist()]


def _kind(table: ParquetTable, name: str) -> Kind:
    from pyarrow import types

    kind = table.type(name)
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_decimal(kind):
        return "cells"
    if table.holds_numbers(name) or types.is_null(kind):
        return "number"
    if types.is_string(kind) or types.is_large_string(kind):
        return "text"
    return "date" if types.is_temporal(kind) else "other"

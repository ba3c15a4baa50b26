"""`CsvSource`: a CSV file as a table of cells."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from bp_arrays.errors import DataError
from bp_arrays.readers._columns import check_distinct
from bp_arrays.readers._csv import check_separator, numbered_rows
from bp_arrays.tables import Kind, Piece, Source, is_number

PIECE = 8192
"""Rows that are parsed together."""


class CsvSource(Source):
    """A CSV file, read from its beginning by each call of `pieces`.

    A column without a name, such as the index that pandas writes, is passed over.

    Parameters
    ----------
    path : Path
    sep : str, optional
        The delimiter.
    """

    def __init__(self, path: Path, sep: str | None = None) -> None:
        if sep is not None:
            check_separator(sep)
        self._path, self._sep = path, sep
        self.name = str(path)
        rows = numbered_rows(path, sep)
        self._header = next(rows, (0, []))[1]
        rows.close()
        if not any(self._header):
            raise DataError(f"{path}: expected a header line with the column names, got none")
        names = [name for name in self._header if name]
        check_distinct(path, names)
        if all(map(is_number, names)):
            raise DataError(
                f"{path}: expected a header line with the column names, got only numbers in "
                "line 1; add one"
            )
        self.passed_over = {
            f"column {k}": "it has no name in the header"
            for k, name in enumerate(self._header, 1)
            if not name
        }
        self.kinds: dict[str, Kind] = dict.fromkeys(names, "cells")
        self._lines = array("q")

    def pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        indices = [self._header.index(name) for name in names]
        width = len(self._header)
        pick: Any = itemgetter(*indices) if len(indices) > 1 else None
        self._lines = array("q")
        rows = numbered_rows(self._path, self._sep)
        next(rows, None)
        while block := list(islice(rows, PIECE)):
            picked = []
            for line, row in block:
                if len(row) != width:
                    raise DataError(
                        f"{self._path}, line {line}: expected {width} cells as in the header, "
                        f"got {len(row)}; quote texts that contain the delimiter"
                    )
                self._lines.append(line)
                picked.append(pick(row) if pick else (row[indices[0]],))
            yield [list(column) for column in zip(*picked, strict=True)]

    def locate(self, row: int, name: str) -> str:
        return f"{self._path}, line {self._lines[row]}, column {name!r}"

"""`Cells` and `TableRows`: the cells of a table as numbers, and its rows as a model takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.inputs import Rows
from bp_arrays.tables._spec import NumberColumn, TableSpec, TextColumn
from bp_arrays.typing import HostArray

UNSEEN = -1.0
"""The code of a text that is no known category."""


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of some columns of a table.

    Parameters
    ----------
    names : tuple of str
    texts : tuple
        Of each column None, if it has numbers, or the text that each code stands for.
    values : float64 array (rows, columns)
        Numbers, or codes of texts; NaN for a missing cell. Memory-mapped if the table is large.
    """

    names: tuple[str, ...]
    texts: tuple[tuple[str, ...] | None, ...]
    values: HostArray


class TableRows(Rows):
    """Rows of a table that become inputs when they are read: numbers filled, texts as categories.

    Parameters
    ----------
    spec : TableSpec
    cells : Cells
    rows : int array, optional
        The rows in use, in this order; by default all.
    """

    def __init__(self, spec: TableSpec, cells: Cells, rows: HostArray | None = None) -> None:
        self.spec, self.cells, self.rows = spec, cells, rows
        count = len(cells.values) if rows is None else len(rows)
        super().__init__((count, len(spec.feature_names)), np.dtype(np.float64))
        position = {name: k for k, name in enumerate(cells.names)}
        numbers, self._texts, first = [], [], 0
        for column in spec.columns:
            k = position[column.name]
            if isinstance(column, NumberColumn):
                fill = np.nan if column.fill is None else column.fill
                numbers.append((k, first, fill, column.mean, column.scale))
            else:
                self._texts.append((k, first, _places(column, cells.texts[k] or ())))
            first += len(column.feature_names)
        columns = np.array(numbers, np.float64).reshape(-1, 5).T
        self._from, self._to = columns[:2].astype(np.int64)
        self._fill, self._mean, self._scale = columns[2:]

    def take(self, rows: Any) -> HostArray:
        if self.rows is None:
            values = self.cells.values[rows]
        else:
            values = self.cells.values[self.rows[rows]]
        x = np.zeros((len(values), self.shape[1]))
        numbers = values[:, self._from]
        x[:, self._to] = (
            np.where(np.isnan(numbers), self._fill, numbers) - self._mean
        ) / self._scale
        for k, first, places in self._texts:
            codes = values[:, k]
            # the last two places are those of a missing and of an unseen text
            place = places[np.where(np.isnan(codes), len(places) - 2, codes).astype(np.int64)]
            known = np.flatnonzero(place >= 0)
            x[known, first + place[known]] = 1.0
        return x


def _places(column: TextColumn, texts: tuple[str, ...]) -> HostArray:
    """Return the input of each code, then that of a missing and of an unseen text; −1 for none."""
    inputs = {text: k for k, text in enumerate(column.categories)}
    missing = len(inputs) if column.has_missing else -1
    return np.array([*(inputs.get(text, -1) for text in texts), missing, -1], np.int64)

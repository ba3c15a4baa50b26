"""`ParquetBlocks`: Parquet files as blocks, one for each row group."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from bp_arrays.data._block_feed import Blocks
from bp_arrays.errors import DataError
from bp_arrays.readers import (
    ParquetTable,
    check_present,
    column_index,
    missing_labels,
    parquet_files,
)


class ParquetBlocks(Blocks):
    """Parquet files read by row groups: a table larger than memory.

    Names and types of the columns are checked at once; values, such as NaN and null, each time
    their row group is read. Memory is needed for two windows and a row group, see `Batches`:
    row groups of some 10,000 to 100,000 rows are suitable.

    Parameters
    ----------
    path : path, or sequence of paths
        A file, a folder of .parquet files, or several files, in this order; all with the same
        columns.
    target : str or sequence of str, optional
        The column of targets; several columns for targets of several values. A column of text
        holds classes: it is read once at the start to find them.
    columns : sequence of str, optional
        The features, in this order; by default all columns except target and weight.
    weight : str, optional
        The column of sample weights.

    Attributes
    ----------
    feature_names : tuple of str
    classes : tuple of str, or None
        The names of the classes in ascending order, if the target is text: class k of the
        targets is `classes[k]`.

    Raises
    ------
    DataError
        If a file does not exist, is damaged, or has no rows; if a column does not exist or does
        not hold numbers.
    MissingExtraError
        If pyarrow is not installed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import pyarrow
    >>> from pyarrow import parquet
    >>> import bp_arrays as bp
    >>> table = pyarrow.table({"rooms": [1, 2, 3, 4], "price": [1.5, 2.5, 3.5, 4.5]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     parquet.write_table(table, pathlib.Path(folder) / "a.parquet", row_group_size=2)
    ...     blocks = ParquetBlocks(folder, "price")
    ...     batches = bp.data.Batches(blocks, batch_size=3, seed=0, device="cpu")
    ...     [t.tolist() for x, t in batches]
    [[4.5, 2.5, 1.5], [3.5]]
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        target: str | Sequence[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
        weight: str | None = None,
    ) -> None:
        self._table = table = ParquetTable(parquet_files(path))
        positions = {name: index for index, name in enumerate(table.names)}
        self._targets = [target] if isinstance(target, str) else list(target or ())
        self._weights = [] if weight is None else [weight]
        others = dict.fromkeys([*self._targets, *self._weights])
        features = [n for n in positions if n not in others] if columns is None else list(columns)
        for name in self._targets:
            column_index(table.path, name, positions, "target column")
        for name in (*self._weights, *features):
            column_index(table.path, name, positions, "column")
        if not features:
            raise DataError(f"{table.path}: expected feature columns besides {[*others]}, got none")
        self.feature_names = tuple(features)
        self.sample_shape = (len(features),)
        self.dtype = table.dtype(self.feature_names)
        self.block_rows = [group.rows for group in table.groups]
        if self.rows == 0:
            raise DataError(f"{table.path}: expected at least one row, got none")
        self.classes = self._read_classes()
        for name in (*(self._targets if self.classes is None else ()), *self._weights):
            table.dtype([name])  # raises if the column does not hold numbers

    def read(self, block: int) -> tuple[Any, ...]:
        table, group = self._table, self._table.groups[block]
        parts = [table.numbers(group, self.feature_names)]
        if self.classes is not None:
            index = {name: k for k, name in enumerate(self.classes)}
            texts = table.texts(group, self._targets[0])
            parts.append(np.array([index[text] for text in texts], np.int64))
        elif self._targets:
            t = table.numbers(group, self._targets)
            parts.append(t[:, 0] if len(self._targets) == 1 else t)
        if self._weights:
            parts.append(table.numbers(group, self._weights)[:, 0])
        return tuple(parts)

    def describe_location(self, block: int, *index: int) -> str:
        group = self._table.groups[block]
        if index:
            return self._table.describe_location(group, index[0], self.feature_names[index[1]])
        return f"{group.path}, row group {group.number}"

    def _read_classes(self) -> tuple[str, ...] | None:
        """Return the distinct texts in a target column of text; None if it is not text."""
        table = self._table
        if len(self._targets) != 1 or table.holds_numbers(self._targets[0]):
            return None
        name = self._targets[0]
        classes: set[str] = set()
        for group in table.groups:
            classes.update(table.texts(group, name))
        if missing := missing_labels(classes):
            for group in table.groups:
                where = partial(table.describe_location, group, name=name)
                check_present(table.texts(group, name), missing, where)
        return tuple(sorted(classes))

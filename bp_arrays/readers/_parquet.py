"""Read Parquet files into a data set (extra: parquet)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from bp_arrays.errors import DataError
from bp_arrays.inputs import first_not_finite
from bp_arrays.readers._columns import chosen_columns
from bp_arrays.readers._dataset import Dataset, Task
from bp_arrays.readers._parquet_table import Group, ParquetTable, parquet_files
from bp_arrays.readers._parsing import parsing
from bp_arrays.readers._targets import convert_targets
from bp_arrays.readers._text_array import Locator
from bp_arrays.tables import Spool
from bp_arrays.typing import HostArray


def read_parquet(
    path: Path,
    target: str | None = None,
    task: Task | None = None,
    *,
    columns: Sequence[str] | None = None,
    require_target: bool = True,
    known_classes: Collection[str] = (),
) -> Dataset:
    """Read the table in a Parquet file or in a folder of them, one column the target.

    Features beyond 1 GiB go to a temporary file and are memory-mapped.

    Parameters
    ----------
    path : Path
    target, task, columns, require_target, known_classes
        As for `read_csv`.

    Raises
    ------
    DataError
        With row and column, for null and NaN; for a column that is missing or not of numbers;
        for a file that is not a Parquet file, is damaged or has no rows.
    MissingExtraError
        If pyarrow is not installed.
    """
    table = ParquetTable(parquet_files(path))
    names = table.names
    feature_indices, target_index = chosen_columns(
        table.path, names, target, columns, require_target=require_target
    )
    features = [names[index] for index in feature_indices]
    table.dtype(features)
    if not sum(group.rows for group in table.groups):
        raise DataError(f"{path}: expected at least one row, got none")
    targets, present = [], []
    with Spool(str(path)) as spool:
        for group in table.groups:
            spool.append(_finite_numbers(table, group, features))
            if target_index is not None:
                name = names[target_index]
                values, is_present = _target_values(table, group, name, required=require_target)
                targets.append(values)
                present.append(is_present)
        x = spool.array()
    t, classes = None, None
    if target_index is not None:
        values = np.concatenate(targets)
        t, classes = convert_targets(
            values.tolist() if values.dtype.kind == "O" else values,
            task,
            _locator(table, names[target_index]),
            required=require_target,
            known_classes=known_classes,
            present=np.concatenate(present),
        )
    return Dataset(
        x=x,
        t=t,
        classes=classes,
        feature_names=tuple(features),
        target_names=(target,) if target is not None else (),
        source=str(path),
    )


def _finite_numbers(table: ParquetTable, group: Group, features: Sequence[str]) -> HostArray:
    x = table.numbers(group, features)
    bad = first_not_finite(x)
    if bad is not None:
        raise DataError(
            f"{table.describe_location(group, bad[0], features[bad[1]])}: expected a finite "
            f"number, got {x[bad]}; fill it or drop the row"
        )
    return x


def _target_values(
    table: ParquetTable, group: Group, name: str, *, required: bool
) -> tuple[HostArray, HostArray]:
    """Read the target column of one row group: numbers, or text; and which rows have a value."""
    if not table.holds_numbers(name):
        texts = table.texts(group, name, required=required)
        return np.array(texts, dtype=object), np.ones(len(texts), bool)
    column, present = table.column(group, name, required=required)
    with parsing(group.path, "Parquet file"):
        if table.holds_decimals(name):  # floats would merge those that differ in the 17th digit
            decimals = column.to_pylist()
            texts = ["" if value is None else format(value, "f") for value in decimals]
            return np.array(texts, dtype=object), present
        values = np.zeros(len(column), table.dtype([name]))
        values[present] = column.drop_null().to_numpy()
    return values, present


def _locator(table: ParquetTable, name: str) -> Locator:
    """Return a function from a row of the whole table to its description."""
    firsts = np.cumsum([0, *(group.rows for group in table.groups)])

    def describe_location(row: int) -> str:
        block = int(np.searchsorted(firsts, row, side="right")) - 1
        return table.describe_location(table.groups[block], row - int(firsts[block]), name)

    return describe_location

"""`read` and `Table`: a table of numbers and texts, ready to be learned from."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bp_arrays.errors import DataError, InputError
from bp_arrays.inputs import is_frame
from bp_arrays.readers._csv_source import CsvSource
from bp_arrays.readers._dataset import Dataset, Task, check_task
from bp_arrays.readers._parquet_source import ParquetSource
from bp_arrays.readers._split import Split, split as split_rows
from bp_arrays.readers._targets import class_numbers, convert_targets
from bp_arrays.tables import (
    Cells,
    FrameSource,
    Missing,
    Source,
    TableRows,
    TableSpec,
    cells_like,
    check_missing,
    column_index,
    first_names,
    learned,
    read_cells,
)
from bp_arrays.typing import HostArray

COUNTING_NAMES = re.compile(r"Unnamed: \d+|(row ?|sample ?|passenger ?)?(id|index|number|no)|"
    r"row ?names?|row|level_0", re.IGNORECASE)  # fmt: skip
"""Names of columns that are passed over if they only count the rows."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Table(Dataset):
    """A table as a data set, with what was learned of its columns; made by `bp.data.read`.

    `bp.fit(model, table, ...)` trains on it and keeps `spec` in the model's metadata, so that
    `model.predict(frame)` and the command line read other tables as this one was read.

    Parameters
    ----------
    spec : TableSpec
        The columns that are inputs, their categories and fillings.
    cells : Cells
        The numbers of the cells, and codes of their texts.
    row_numbers : int array
        The rows of the cells that are in use.
    missing : "median", "mean", "drop" or "error"
    standardize : bool
    notes : tuple of str
        What was done with the table, each in a line.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"size": [1.0, 2.0, None, 4.0], "wood": ["oak", "fir", "oak", "fir"],
    ...                       "price": [3.5, 5.0, 4.25, 9.0]})
    >>> table = bp.data.read(frame, target="price")
    >>> table.feature_names, table.x.shape
    (('size', 'wood=fir', 'wood=oak'), (4, 3))
    """

    spec: TableSpec
    cells: Cells
    row_numbers: HostArray
    missing: Missing
    standardize: bool
    notes: tuple[str, ...] = ()

    @property
    def metadata(self) -> dict[str, str]:
        """What `fit` adds to the metadata of a model."""
        return self.spec.to_metadata()

    @property
    def features(self) -> int:
        """The number of inputs: the `input_shape` of a model."""
        return len(self.feature_names)

    def take(self, rows: Any) -> Table:
        """Return the table of some rows, an array of their numbers, read in the same way."""
        numbers = self.row_numbers[rows]
        return replace(
            self,
            x=_rows(self.spec, self.cells, numbers),
            t=None if self.t is None else self.t[rows],
            row_numbers=numbers,
        )

    def learned_from(self, rows: Any) -> Table:
        """Return the whole table, with the specification that some of its rows teach."""
        spec, notes = learned(
            self.cells,
            self.row_numbers[rows],
            missing=self.missing,
            standardize=self.standardize,
            left_out=self.spec.left_out,
            target=self.spec.target,
            classes=self.spec.classes,
            source=self.source,
        )
        return replace(
            self,
            x=_rows(spec, self.cells, self.row_numbers),
            feature_names=spec.feature_names,
            spec=spec,
            notes=(
                *(n for n in self.notes if not n.startswith(("missing   '", "constant"))),
                *notes,
            ),
        )

    def split(self, *, test: float | None = None, seed: int = 0) -> tuple[Table, Table]:
        """Split into training and test rows at random, stratified by class.

        What is learned of the columns is learned from the training rows alone.

        Parameters
        ----------
        test : float, default 0.2
            The fraction of rows for testing, in (0, 1).
        seed : int, default 0

        Raises
        ------
        InputError
            If no row remains for training.
        """
        parts: Split = split_rows(self, test=test, seed=seed)
        whole = self.learned_from(parts.train)
        return whole.take(parts.train), whole.take(parts.test)


def read(
    source: Any,
    *,
    target: str | None = None,
    columns: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    missing: Missing = "median",
    task: Task | None = None,
    sep: str | None = None,
    standardize: bool = True,
    like: Any = None,
) -> Table:
    """Read a table of numbers and texts, from a file or a data frame, ready to be learned from.

    Numbers, true and false are inputs as they are; a column of texts that recur, up to 100
    different ones, becomes an input of 0 and 1 for each text. Left out, with a note, are columns
    of dates, of texts that hardly recur, such as names, of a single value, without values, and
    those that only count the rows. Rows without a target are left out.

    Parameters
    ----------
    source : path, or DataFrame of pandas or polars
        A .csv file, compressed or not, or a .parquet file or folder (extra: parquet).
    target : str, optional
        The column to predict.
    columns : sequence of str, optional
        The columns to learn from; by default all that can be.
    drop : sequence of str, optional
        Columns to leave out.
    missing : "median", "mean", "drop" or "error", default "median"
        Missing numbers are filled with the median or the mean of their column, and missing texts
        are a category of their own; or rows with a missing value are left out; or refused.
    task : "classification", "regression" or None
        None infers the task from the targets.
    sep : str, optional
        The delimiter of a .csv file; by default a comma, semicolon or tab, whichever fits.
    standardize : bool, default True
        Whether numbers are given as (value − mean) / standard deviation.
    like : Table, TableSpec or Model, optional
        Read the table as this one was, or that which the model was trained on: the same columns,
        categories and fillings. The target may be missing then.

    Returns
    -------
    Table

    Raises
    ------
    DataError, InputError
        With line and column, for a text among numbers, infinity, or whole numbers beyond 2^53;
        for a column that does not exist, with the nearest name; if no rows or columns remain.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"wood": ["oak", "fir"] * 10, "age": range(20), "price": range(20)})
    >>> table = bp.data.read(frame, target="price", drop=["age"], task="regression")
    >>> model = bp.Model(bp.Linear(1), input_shape=table.features, device="cpu", seed=0)
    >>> history = bp.fit(model, table, loss=bp.L2Loss(), optimizer=bp.SGD(0.1))
    >>> model.predict(pd.DataFrame({"wood": ["fir", "elm"]})).shape
    (2, 1)
    """
    check_missing(missing, "read(missing=)")
    check_task(task)
    opened = opened_table(source, sep)
    if like is not None:
        spec = _spec_of(like)
        if target not in (None, spec.target) or columns is not None or drop:
            raise InputError(
                "read(like=): expected no other target, columns or drop, they are those of the "
                "training table; leave them out"
            )
        return _read_like(opened, spec, task)
    names = list(opened.kinds)
    target = None if target is None else str(target)  # a frame may have numbers for names
    columns, drop = _listed("columns", columns), _listed("drop", drop) or []
    if target is not None:
        _index(opened, target, "target column")
        if opened.kinds[target] in ("date", "other"):
            raise DataError(
                f"{opened.name}, column {target!r}: expected numbers or classes as targets, got "
                "dates or other values; convert them"
            )
    for name in (*(columns or ()), *drop):
        _index(opened, name, "column")
        if name == target:
            raise InputError(f"read: expected other columns than the target {target!r}")
    wanted = names if columns is None else columns
    features = [name for name in dict.fromkeys(wanted) if name != target and name not in drop]
    if not features:
        raise DataError(f"{opened.name}: expected a column besides the target, got none")
    reading = read_cells(opened, features, target, asked_for=columns or ())
    cells, left_out = reading.cells, reading.left_out
    if columns is None:
        left_out |= _counting(cells)
    rows = np.arange(len(cells.values))
    t, classes, notes = None, None, [f"passed    {k}: {v}" for k, v in opened.passed_over.items()]
    notes += reading.notes
    if target is not None:
        t, classes = _targets(opened, reading.target, target, task)
        has_target = t >= 0 if classes is not None else ~np.isnan(t[:, 0])
        if not has_target.all():
            count = int((~has_target).sum())
            if missing == "error":
                row = int(np.argmin(has_target))
                raise DataError(
                    f"{opened.locate(row, target)}: expected a target, got a missing value "
                    f"({count} in all); fill it, drop the row, or choose another value of missing"
                )
            notes.append(f"targets   {count} of {len(rows)} rows have none and are left out")
            rows = rows[has_target]
    rows, more = _without_missing(opened, cells, rows, left_out, missing)
    spec, filled = learned(
        cells,
        rows,
        missing=missing,
        standardize=standardize,
        left_out=left_out,
        target=target,
        classes=classes,
        source=opened.name,
    )
    return Table(
        x=_rows(spec, cells, rows),
        t=None if t is None else t[rows],
        classes=classes,
        feature_names=spec.feature_names,
        target_names=() if target is None else (target,),
        source=opened.name,
        spec=spec,
        cells=cells,
        row_numbers=rows,
        missing=missing,
        standardize=standardize,
        notes=tuple(notes + more + _left_out_note(spec, columns) + filled),
    )


def _listed(what: str, names: Sequence[Any] | None) -> list[str] | None:
    if isinstance(names, str):
        raise InputError(
            f"read({what}=): expected a list of names, got {names!r}; write [{names!r}]"
        )
    return None if names is None else list(map(str, names))


def opened_table(source: Any, sep: str | None = None) -> Source:
    """Open a table: a DataFrame, or a file of CSV or Parquet."""
    if is_frame(source):
        return FrameSource(source, "table")
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(
            f"read: expected a path or a DataFrame, got a {type(source).__name__}; arrays are "
            "passed to bp.fit as they are"
        )
    from bp_arrays.readers._open_dataset import table_path

    path, kind = table_path(os.fspath(source))
    if kind == "parquet":
        if sep is not None:
            raise DataError(f"sep: expected a .csv file, got {path}; drop sep")
        return ParquetSource(path)
    return CsvSource(Path(path), sep)


def _rows(spec: TableSpec, cells: Cells, rows: HostArray) -> Any:
    """Return the samples of a Dataset, an array to all who read rows of it."""
    return TableRows(spec, cells, rows)


def table_names(path: str, sep: str | None = None) -> list[str]:
    """Return the names of the columns of a file."""
    return list(opened_table(path, sep).kinds)


def _read_like(opened: Source, spec: TableSpec, task: Task | None) -> Table:
    """Read a table with columns that are known."""
    target = spec.target if spec.target in opened.kinds else None
    cells, values, notes = cells_like(opened, spec, target)
    t, classes = None, None
    if target is not None:
        if task is None:
            task = "regression" if spec.classes is None else "classification"
        t, classes = _targets(opened, values, target, task, spec.classes or (), required=False)
        if t is not None and classes is not None and spec.classes is not None:
            t, classes = _numbered_as(t, classes, spec.classes)
    rows = np.arange(len(cells.values))
    return Table(
        x=_rows(spec, cells, rows),
        t=t,
        classes=classes,
        feature_names=spec.feature_names,
        target_names=() if spec.target is None else (spec.target,),
        source=opened.name,
        spec=spec,
        cells=cells,
        row_numbers=rows,
        missing="median",
        standardize=False,
        notes=tuple(notes),
    )


def _numbered_as(
    t: HostArray, names: tuple[str, ...], known: tuple[str, ...]
) -> tuple[HostArray, tuple[str, ...]]:
    """Number the classes as the training table did; those that it lacks come last."""
    numbers = class_numbers(names, known)
    unknown = [name for name, number in zip(names, numbers, strict=True) if number is None]
    others = iter(range(len(known), len(known) + len(unknown)))
    numbering = np.array([next(others) if k is None else k for k in numbers], np.int64)
    return np.where(t < 0, t, numbering[np.maximum(t, 0)]), (*known, *unknown)


def _spec_of(like: Any) -> TableSpec:
    if isinstance(like, TableSpec):
        return like
    if isinstance(like, Table):
        return like.spec
    spec = TableSpec.from_metadata(getattr(like, "metadata", {}), "like")
    if spec is None:
        raise InputError(
            "read(like=): expected a Table, or a model trained on one, got a "
            f"{type(like).__name__} without; train with bp.fit(model, table, ...)"
        )
    return spec


def _targets(
    opened: Source,
    values: Any,
    target: str,
    task: Task | None,
    known: Sequence[str] = (),
    *,
    required: bool = True,
) -> tuple[Any, tuple[str, ...] | None]:
    """Convert the targets; −1 or NaN where there is none."""
    t, classes = convert_targets(
        values,
        task,
        lambda row: opened.locate(row, target),
        required=False,
        known_classes=known,
    )
    if t is None and required:
        raise DataError(f"{opened.name}, column {target!r}: expected targets, all are missing")
    return t, classes


def _index(opened: Source, name: str, role: str) -> None:
    column_index(opened.name, name, {known: k for k, known in enumerate(opened.kinds)}, role)


def _counting(cells: Cells) -> dict[str, str]:
    """Return the columns that only count the rows, from 0 or 1."""
    counting = {}
    for k, (name, texts) in enumerate(zip(cells.names, cells.texts, strict=True)):
        if texts is None and COUNTING_NAMES.fullmatch(name) and len(cells.values) > 2:
            values = cells.values[:, k]
            if values[0] in (0.0, 1.0) and np.array_equal(
                np.diff(values), np.ones(len(values) - 1)
            ):
                counting[name] = "it only counts the rows"
    return counting


def _without_missing(
    opened: Source, cells: Cells, rows: HostArray, left_out: dict[str, str], missing: Missing
) -> tuple[HostArray, list[str]]:
    """Return the rows to learn from, without those that `missing` drops, and a note."""
    if missing in ("median", "mean"):
        return rows, []
    is_absent = np.zeros(len(cells.values), bool)
    first = None
    for k, name in enumerate(cells.names):
        absent = np.isnan(cells.values[:, k])
        if name in left_out or absent[rows].all():
            continue
        if first is None and absent[rows].any():
            first = int(rows[np.argmax(absent[rows])]), name
        is_absent |= absent
    dropped = int(is_absent[rows].sum())
    if first is None:
        return rows, []
    if missing == "error":
        raise DataError(
            f"{opened.locate(*first)}: expected a value, got a missing one; {dropped} of "
            f"{len(rows)} rows have such; fill them, or use another value of missing: median, mean "
            "or drop"
        )
    rows = rows[~is_absent[rows]]
    if not len(rows):
        raise DataError(
            f"{opened.name}: expected rows without a missing value, got none; fill them with "
            "missing median, or leave out the columns that are mostly empty"
        )
    return rows, [f"missing   {dropped} rows with a missing value are left out"]


def _left_out_note(spec: TableSpec, columns: Sequence[str] | None) -> list[str]:
    """Return the columns that are left out, by reason."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in spec.left_out.items():
        by_reason.setdefault(reason, []).append(name)
    return [
        f"left out  {first_names([repr(name) for name in names], 8)}: {reason}"
        for reason, names in by_reason.items()
    ]

"""Tables of comma-separated values with a header (RFC 4180; semicolons and tabs too)."""

from __future__ import annotations

import codecs
import csv
from array import array
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path

import numpy as np

from bp_arrays.errors import DataError
from bp_arrays.inputs import first_not_finite
from bp_arrays.readers._cells import MISSING_WORDS, is_missing, is_number, number
from bp_arrays.readers._columns import chosen_columns
from bp_arrays.readers._dataset import Dataset, Task
from bp_arrays.readers._spool import Spool
from bp_arrays.readers._targets import targets_from_text

PIECE = 2**20
"""Numbers that are collected before they go to the spool."""

MANY_TEXTS = 1000
"""Distinct target texts up to which equal texts are stored once."""


def read_csv(
    path: Path,
    target: str | None = None,
    task: Task | None = None,
    *,
    columns: Sequence[str] | None = None,
    require_target: bool = True,
) -> Dataset:
    """Read a table of numbers from a CSV file: one sample per line, one column the target.

    The file is read once, line by line. Numbers beyond 1 GiB go to a temporary file and are
    memory-mapped; the targets stay in memory.

    Parameters
    ----------
    path : Path
        UTF-8, with or without a byte order mark; any line endings.
    target : str
        The name of the column to predict; classes may be text.
    task : "classification", "regression" or None
        None infers the task, see `targets_from_text`.
    columns : sequence of str, optional
        The feature columns, in this order; by default all except the target.
    require_target : bool, default True
        Whether a missing target column is an error. If not, a target column without a single
        value counts as missing.

    Raises
    ------
    DataError
        With line and column, for text or an empty cell in a number column, NaN, lines of
        another length; for a missing, repeated or nameless column; for a file that is empty,
        not UTF-8, or malformed.
    """
    numbered_rows = _rows(path)
    _, names = next(numbered_rows, (0, []))
    _check_header(path, names)
    features, target_index = chosen_columns(
        path, names, target, columns, require_target=require_target
    )

    values, cells, lines = array("d"), [], array("q")
    texts: dict[str, str] = {}
    pick = _picker(features)
    with Spool(str(path)) as spool:
        for line, row in numbered_rows:
            if len(row) != len(names):
                raise DataError(
                    f"{path}, line {line}: expected {len(names)} cells as in the header, "
                    f"got {len(row)}; quote texts that contain commas"
                )
            try:
                values.extend(map(number, pick(row)))
            except ValueError:
                raise _not_a_number(path, line, row, names, features) from None
            lines.append(line)
            if target_index is not None:
                cells.append(_interned(row[target_index], texts))
            if len(values) >= PIECE:
                spool.append(np.frombuffer(values).reshape(-1, len(features)))
                values = array("d")
        if not lines:
            raise DataError(f"{path}: expected rows below the header, got none")
        spool.append(np.frombuffer(values).reshape(-1, len(features)))
        x = spool.array()
    bad = first_not_finite(x)
    if bad is not None:
        raise DataError(
            f"{path}, line {lines[bad[0]]}, column {names[features[bad[1]]]!r}: expected a finite "
            f"number, got {x[bad]}; fill it or drop the row"
        )
    t, classes = None, None
    if target_index is not None and (require_target or not all(map(is_missing, cells))):
        t, classes = targets_from_text(
            cells, task, lambda row: f"{path}, line {lines[row]}, column {target!r}"
        )
    return Dataset(
        x=x,
        t=t,
        classes=classes,
        feature_names=tuple(names[index] for index in features),
        target_names=(target,) if target is not None else (),
        source=str(path),
    )


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number, from 1, and the cells of each line that is not empty."""
    with path.open(encoding="utf-8-sig", newline="") as text:
        try:
            header = (text.read(65536).splitlines() or [""])[0]
            text.seek(0)
            delimiter = next((mark for mark in ",;\t" if mark in header), ",")
            reader = csv.reader(text, delimiter=delimiter, strict=True)
            yield reader.line_num, [name.strip() for name in next(reader, [])]
            for row in reader:
                if row:
                    yield reader.line_num, row
        except csv.Error as error:
            raise DataError(
                f"{path}, line {reader.line_num}: expected well-formed CSV, got: {error}; check "
                "the quotes"
            ) from None
        except UnicodeDecodeError:
            raise DataError(
                f"{path}: expected UTF-8 text, got something else at byte "
                f"{_first_not_utf8(path)}; save the table as UTF-8"
            ) from None


def _first_not_utf8(path: Path) -> int:
    """Return the offset of the first byte that is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    done = 0
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(2**20), b""):
            waiting = len(decoder.getstate()[0])  # the first bytes of a character
            try:
                decoder.decode(piece)
            except UnicodeDecodeError as error:
                return done - waiting + error.start
            done += len(piece)
    return done - len(decoder.getstate()[0])  # the file ends within a character


def _check_header(path: Path, names: list[str]) -> None:
    if not any(names):
        raise DataError(f"{path}: expected a header line with the column names, got none")
    if "" in names:
        raise DataError(
            f"{path}: expected a name for column {names.index('') + 1} in the header, got none; "
            "name it or, if it only counts the rows, drop it"
        )
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise DataError(
            f"{path}: expected distinct column names, got {repeated!r} twice; rename one"
        )
    if all(is_number(name) for name in names):
        raise DataError(
            f"{path}: expected a header line with the column names, got only numbers in line 1; "
            "add one"
        )


def _interned(cell: str, texts: dict[str, str]) -> str:
    """Return equal texts as one object: a class name is in memory once, not once per row."""
    return texts.get(cell, cell) if len(texts) >= MANY_TEXTS else texts.setdefault(cell, cell)


def _picker(columns: list[int]) -> Callable[[list[str]], Sequence[str]]:
    """Return a fast function that selects cells; `itemgetter` of one column gives no tuple."""
    if len(columns) == 1:
        return itemgetter(slice(columns[0], columns[0] + 1))
    return itemgetter(*columns)


def _not_a_number(
    path: Path, line: int, row: list[str], names: list[str], features: list[int]
) -> DataError:
    column = next(column for column in features if not is_number(row[column]))
    cell = row[column].strip()
    kind = "missing value" if cell in MISSING_WORDS else "text"
    value = f"the {kind} {row[column]!r:.60}" if cell else "an empty cell"
    return DataError(
        f"{path}, line {line}, column {names[column]!r}: expected a number, got {value}; "
        "correct it, drop the row, or exclude the column"
    )

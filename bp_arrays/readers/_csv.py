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
from bp_arrays.readers._cells import is_missing, is_number, number
from bp_arrays.readers._columns import chosen_columns
from bp_arrays.readers._dataset import Dataset, Task
from bp_arrays.readers._spool import Spool
from bp_arrays.readers._targets import targets_from_text

PIECE = 2**20
"""So many numbers are collected before they are put away."""

MANY_TEXTS = 1000
"""More different targets than this are hardly the names of classes."""


def read_csv(
    path: Path,
    target: str | None = None,
    task: Task | None = None,
    *,
    columns: Sequence[str] | None = None,
    require_target: bool = True,
) -> Dataset:
    """A table of numbers: one line a sample, one column the target.

    The file is read once, line by line. Numbers that need more than 1 GiB go to a temporary
    file and are mapped; the targets are in memory.

    Parameters
    ----------
    path : Path
        UTF-8, with or without a byte order mark; lines may end in any usual way.
    target : str
        The name of the column to predict; classes may be text.
    task : "classification", "regression" or None
        None finds it out, see `targets_from_text`.
    columns : sequence of str, optional
        The columns to take as features, in this order; by default all but the target.
    require_target : bool, default True
        Whether it is an error if there is no target column. If not, a target column without a
        single value counts as absent.

    Raises
    ------
    DataError
        Naming line and column, for text or an empty cell in a number column, NaN, lines of
        another length; for a missing, doubled or nameless column; for a file that is empty,
        not UTF-8, or not well-formed.
    """
    lines = _lines(path)
    _, names = next(lines, (0, []))
    _check_header(path, names)
    chosen, goal = chosen_columns(path, names, target, columns, require_target=require_target)

    values, cells, numbers = array("d"), [], array("q")
    texts: dict[str, str] = {}
    pick = _picker(chosen)
    with Spool(str(path)) as spool:
        for line, row in lines:
            if len(row) != len(names):
                raise DataError(
                    f"{path}, line {line}: expected {len(names)} cells as in the header, "
                    f"got {len(row)}; a text with commas needs quotes"
                )
            try:
                values.extend(map(number, pick(row)))
            except ValueError:
                raise _not_a_number(path, line, row, names, chosen) from None
            numbers.append(line)
            if goal is not None:
                cells.append(_shared(row[goal], texts))
            if len(values) >= PIECE:
                spool.append(np.frombuffer(values).reshape(-1, len(chosen)))
                values = array("d")
        if not numbers:
            raise DataError(f"{path}: expected rows below the header, found none")
        spool.append(np.frombuffer(values).reshape(-1, len(chosen)))
        x = spool.array()
    bad = first_not_finite(x)
    if bad is not None:
        raise DataError(
            f"{path}, line {numbers[bad[0]]}, column {names[chosen[bad[1]]]!r}: {x[bad]} is not "
            "a finite number; fill it or drop the row"
        )
    t, classes = None, None
    if goal is not None and (require_target or not all(map(is_missing, cells))):
        t, classes = targets_from_text(
            cells, task, lambda row: f"{path}, line {numbers[row]}, column {target!r}"
        )
    return Dataset(
        x=x,
        t=t,
        classes=classes,
        feature_names=tuple(names[place] for place in chosen),
        target_names=(target,) if target is not None else (),
        source=str(path),
    )


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The number of each line that is not empty, from 1, and its cells; the header first."""
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
                f"{path}, line {reader.line_num}: not well-formed, {error}; check the quotes there"
            ) from None
        except UnicodeDecodeError:
            raise DataError(
                f"{path}: expected UTF-8 text, but byte {_first_not_utf8(path)} is not; save the "
                "table as UTF-8"
            ) from None


def _first_not_utf8(path: Path) -> int:
    """The place in a file of the first byte that is not UTF-8."""
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
        raise DataError(f"{path}: expected a header line with the names of the columns, got none")
    if "" in names:
        raise DataError(
            f"{path}: column {names.index('') + 1} has no name in the header; "
            "name it or, if it only counts the rows, leave it out"
        )
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise DataError(f"{path}: the header names the column {doubled!r} twice; rename one")
    if all(is_number(name) for name in names):
        raise DataError(
            f"{path}: expected a header line with the names of the columns, but line 1 holds "
            "only numbers; add one"
        )


def _shared(cell: str, texts: dict[str, str]) -> str:
    """The same text as one object: the name of a class is in memory once, not once a row."""
    return texts.get(cell, cell) if len(texts) >= MANY_TEXTS else texts.setdefault(cell, cell)


def _picker(places: list[int]) -> Callable[[list[str]], Sequence[str]]:
    """A fast function for the cells at these places; `itemgetter` of one gives no tuple."""
    if len(places) == 1:
        return itemgetter(slice(places[0], places[0] + 1))
    return itemgetter(*places)


def _not_a_number(
    path: Path, line: int, row: list[str], names: list[str], chosen: list[int]
) -> DataError:
    place = next(place for place in chosen if not is_number(row[place]))
    came = f"the text {row[place]!r:.60}" if row[place].strip() else "an empty cell"
    return DataError(
        f"{path}, line {line}, column {names[place]!r}: expected a number, got {came}; "
        "correct it, drop the row, or leave the column out"
    )

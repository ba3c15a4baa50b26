"""Tables of comma-separated values with a header (RFC 4180; semicolons and tabs too)."""

from __future__ import annotations

import codecs
import csv
import io
import re
from array import array
from collections.abc import Collection, Generator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from bp_arrays.errors import DataError, InputError
from bp_arrays.inputs import first_not_finite
from bp_arrays.readers._columns import check_distinct, chosen_columns
from bp_arrays.readers._compressed import unpacked
from bp_arrays.readers._dataset import Dataset, Task
from bp_arrays.readers._row_parser import RowParser
from bp_arrays.readers._targets import convert_targets
from bp_arrays.tables import Spool, has_comma, is_number

PIECE = 2**20
"""Numbers that are collected before they go to the spool."""

SAMPLE_ROWS = 20
"""Rows that are read to tell which of several delimiters in the header divides the cells."""

MANY_TEXTS = 1000
"""Distinct target texts up to which equal texts are stored once."""


def read_csv(
    path: Path,
    target: str | None = None,
    task: Task | None = None,
    *,
    columns: Sequence[str] | None = None,
    require_target: bool = True,
    known_classes: Collection[str] = (),
    sep: str | None = None,
) -> Dataset:
    """Read a table of numbers from a CSV file: one sample per line, one column the target.

    Features are numbers, or true and false, which count as 1 and 0.

    The file is read once, line by line. Numbers beyond 1 GiB go to a temporary file and are
    memory-mapped; the targets stay in memory.

    Parameters
    ----------
    path : Path
        UTF-8, with or without a byte order mark; any line endings; compressed with gzip or zip
        or not.
    target : str
        The name of the column to predict; classes may be text.
    task : "classification", "regression" or None
        None infers the task, see `convert_targets`.
    columns : sequence of str, optional
        The feature columns, in this order; by default all except the target.
    require_target : bool, default True
        Whether a missing target column, or a missing target, is an error.
    known_classes : collection of str
        Used only with require_target=False: names that are classes even if they look like missing
        values, such as "NA".
    sep : str, optional
        The delimiter; by default the one that a first line such as "sep=;" declares, or else the
        comma, semicolon or tab that divides the header and the rows below it into equally many
        cells.

    Raises
    ------
    DataError
        With line and column, for text or an empty cell in a number column, NaN, lines of
        another length; for a missing, repeated or nameless column; for a file that is empty,
        not UTF-8, malformed, or damaged; for two delimiters that fit equally well.
    """
    if sep is not None:
        check_separator(sep)
    rows = numbered_rows(path, sep)
    _, names = next(rows, (0, []))
    _check_header(path, names, are_chosen=columns is not None)
    features, target_index = chosen_columns(
        path, names, target, columns, require_target=require_target
    )

    values, cells, lines = array("d"), [], array("q")
    texts: dict[str, str] = {}
    parser = RowParser(names, features)
    with Spool(str(path)) as spool:
        for line, row in rows:
            if len(row) != len(names):
                raise DataError(
                    f"{path}, line {line}: expected {len(names)} cells as in the header, "
                    f"got {len(row)}; quote texts that contain the delimiter"
                )
            values.extend(parser.parse(row, f"{path}, line {line}"))
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
    if target_index is not None:
        t, classes = convert_targets(
            cells,
            task,
            lambda row: f"{path}, line {lines[row]}, column {target!r}",
            required=require_target,
            known_classes=known_classes,
        )
    return Dataset(
        x=x,
        t=t,
        classes=classes,
        feature_names=tuple(names[index] for index in features),
        target_names=(target,) if target is not None else (),
        source=str(path),
    )


def numbered_rows(path: Path, sep: str | None = None) -> Generator[tuple[int, list[str]]]:
    """Yield the line number, from 1, and the cells of each line that is not empty."""
    with (
        unpacked(path) as binary,
        io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as text,
    ):
        try:
            declared = _declared_delimiter(text)
            lines_before = 0 if declared is None else 1
            delimiter = sep or declared or _delimiter(path, text)
            text.seek(0)
            for _ in range(lines_before):
                text.readline()
            reader = csv.reader(text, delimiter=delimiter, strict=True)
            header = next(reader, [])
            yield lines_before + reader.line_num, [name.strip() for name in header]
            for row in reader:
                if row:
                    yield lines_before + reader.line_num, row
        except csv.Error as error:
            raise DataError(
                f"{path}, line {lines_before + reader.line_num}: expected well-formed CSV, got: "
                f"{error}; check the quotes"
            ) from None
        except UnicodeDecodeError:
            raise DataError(
                f"{path}: expected UTF-8 text, got something else at byte "
                f"{_first_not_utf8(path)}; save the table as UTF-8"
            ) from None


def _declared_delimiter(text: TextIO) -> str | None:
    """Return the delimiter that a first line such as "sep=;", which Excel reads, declares."""
    declaration = re.fullmatch(r'"?sep=([^\w"\r\n.+-])"?[\r\n]*', text.readline(16))
    return declaration and declaration[1]


def check_separator(sep: str) -> None:
    """Raise InputError unless sep can divide the cells of a line."""
    if len(sep) != 1 or sep.isalnum() or sep in '"\r\n.+-_':
        raise InputError(f"sep: expected one character, such as ',' ';' '|' or a tab, got {sep!r}")


def _delimiter(path: Path, text: TextIO) -> str:
    """Find the delimiter: that in the header or, if there are several, the one that fits the rows.

    A name may contain a comma, as in "area (m, gross);rooms", and so may a number. The delimiter
    that divides most rows like the header is chosen, then the one between most numbers.
    """
    marks = [mark for mark in ",;\t" if len(_first_rows(text, mark, 1)[0]) > 1]
    if len(marks) < 2:
        return marks[0] if marks else ","
    fits = {mark: _fit(*_first_rows(text, mark, 1 + SAMPLE_ROWS)) for mark in marks}
    best = [mark for mark in marks if fits[mark] == max(fits.values())]
    if len(best) > 1 and fits[best[0]] > (0.0, 0.0):
        raise DataError(
            f"{path}: expected one delimiter, got {' and '.join(map(repr, best))}, which fit "
            "equally well; name it with --sep, in Python with sep="
        )
    return best[0]


def _first_rows(text: TextIO, mark: str, count: int) -> list[list[str]]:
    """Return the rows up to the count, or to the first that is malformed: at least one."""
    text.seek(0)
    rows: list[list[str]] = []
    with suppress(csv.Error):
        for row in islice(csv.reader(text, delimiter=mark, strict=True), count):
            rows.append(row)
    return rows or [[]]


def _fit(header: list[str], *rows: list[str]) -> tuple[float, float]:
    """Return the fraction of rows as long as the header, and that of numbers in their cells."""
    alike = [row for row in rows if len(row) == len(header)]
    cells = [cell for row in alike for cell in row]
    numbers = sum(is_number(cell) or has_comma(cell) for cell in cells)
    return len(alike) / max(len(rows), 1), numbers / max(len(cells), 1)


def _first_not_utf8(path: Path) -> int:
    """Return the offset of the first byte that is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    done = 0
    with unpacked(path) as file:
        for piece in iter(lambda: file.read(2**20), b""):
            waiting = len(decoder.getstate()[0])  # the first bytes of a character
            try:
                decoder.decode(piece)
            except UnicodeDecodeError as error:
                return done - waiting + error.start
            done += len(piece)
    return done - len(decoder.getstate()[0])  # the file ends within a character


def _check_header(path: Path, names: list[str], *, are_chosen: bool) -> None:
    if not any(names):
        raise DataError(f"{path}: expected a header line with the column names, got none")
    if "" in names and not are_chosen:
        raise DataError(
            f"{path}: expected a name for column {names.index('') + 1} in the header, got none; "
            "name it or, if it only counts the rows, drop it"
        )
    check_distinct(path, [name for name in names if name])
    if all(is_number(name) for name in names):
        raise DataError(
            f"{path}: expected a header line with the column names, got only numbers in line 1; "
            "add one"
        )


def _interned(cell: str, texts: dict[str, str]) -> str:
    """Return equal texts as one object: a class name is in memory once, not once per row."""
    return texts.get(cell, cell) if len(texts) >= MANY_TEXTS else texts.setdefault(cell, cell)

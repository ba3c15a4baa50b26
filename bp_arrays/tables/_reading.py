"""Read the columns of a table: for the first time, or as a model knows them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from bp_arrays.errors import DataError
from bp_arrays.tables._cells import has_comma, is_number
from bp_arrays.tables._parsers import (
    CategoryParser,
    NotNumberError,
    TextParser,
    parsed_numbers,
)
from bp_arrays.tables._rounded import EXACT, first_rounded, is_rounded, rounded_error
from bp_arrays.tables._rows import Cells
from bp_arrays.tables._source import Source, column_index
from bp_arrays.tables._spec import NumberColumn, TableSpec
from bp_arrays.tables._spool import Spool
from bp_arrays.typing import HostArray

FEW, MOST = 20, 0.95
"""Different texts, and fraction of numbers, up to which numbers and texts such as 3+ in one column
are categories; beyond it, a text among numbers is taken for a mistake."""


class Reading(NamedTuple):
    """The columns that were read.

    Parameters
    ----------
    cells : Cells
    target : list of str, or array (rows,), or None
        The column of the targets as it is.
    left_out : dict of str to str
        Columns that cannot be learned from, and why.
    notes : list of str
        What else was noticed, in lines.
    """

    cells: Cells
    target: Any
    left_out: dict[str, str]
    notes: list[str]


def read_cells(
    source: Source, names: Sequence[str], target: str | None, *, asked_for: Collection[str] = ()
) -> Reading:
    """Read columns for the first time: numbers, or texts that recur.

    A column of cells is read as numbers if the first rows are; should a text come later, the
    table is read once more.

    Parameters
    ----------
    source : Source
    names : sequence of str
        The columns of the features.
    target : str, optional
        The column of the targets.
    asked_for : collection of str
        Columns that must not be left out, because the user named them.

    Raises
    ------
    DataError
        With the location, for a text among numbers, infinity, and whole numbers that float64
        rounds; if there are no rows.
    """
    left_out = _unfit(source, names)
    names = [name for name in names if name not in left_out]
    if not names and target is None:
        raise DataError(f"{source.name}: expected a column of numbers or texts, got none")
    texts = {name for name in names if source.kinds[name] == "text"}
    first_texts: dict[str, tuple[int, str]] = {}
    first = next(source.pieces(names), []) if names else []
    for name, column in zip(names, first, strict=False):
        if isinstance(column, list) and name not in texts:
            try:
                parsed_numbers(column)
            except NotNumberError as error:
                first_texts[name] = error.row, error.cell
    texts |= first_texts.keys()
    while True:
        parsers = {name: TextParser() for name in names if name in texts}
        values, targets, found = _one_pass(source, names, target, parsers)
        if not found:
            break
        first_texts |= found
        texts |= found.keys()
    notes = []
    for name, parser in parsers.items():
        reason = _reason(source, name, parser, len(values), first_texts.get(name))
        if reason is not None:
            left_out[name] = reason
        elif name in first_texts and _is_mostly_numbers(source, name, parser):
            notes.append(_mixed(name, parser, first_texts[name][1].strip()))
    for name in names:
        if name in left_out and name in asked_for:
            raise DataError(
                f"{source.name}, column {name!r}: expected numbers, or texts that recur, got "
                f"{left_out[name]}; do not name it in --columns"
            )
    columns = tuple(tuple(parsers[name].texts) if name in parsers else None for name in names)
    return Reading(Cells(tuple(names), columns, values), targets, left_out, notes)


def cells_like(
    source: Source, spec: TableSpec, target: str | None = None
) -> tuple[Cells, Any, list[str]]:
    """Read the columns that a specification names; return them, the target, and notes of one line.

    Raises
    ------
    DataError
        If the table lacks a column, with the nearest name; with the location, for a text where
        the specification has numbers, for a missing number that cannot be filled.
    """
    positions = {name: k for k, name in enumerate(source.kinds)}
    for column in spec.columns:
        column_index(source.name, column.name, positions, "column")
        if isinstance(column, NumberColumn) and source.kinds[column.name] in ("date", "other"):
            raise DataError(
                f"{source.name}, column {column.name!r}: expected numbers, as the model learned, "
                "got dates or other values; convert them to numbers"
            )
    parsers: dict[str, Any] = {
        column.name: CategoryParser(column.categories)
        for column in spec.columns
        if not isinstance(column, NumberColumn)
    }
    names = [column.name for column in spec.columns]
    values, targets, _ = _one_pass(source, names, target, parsers, strict=True)
    columns = tuple(
        None if isinstance(column, NumberColumn) else column.categories for column in spec.columns
    )
    cells = Cells(tuple(names), columns, values)
    return cells, targets, _notes(source, spec, cells, parsers)


def _one_pass(
    source: Source,
    names: Sequence[str],
    target: str | None,
    parsers: dict[str, Any],
    *,
    strict: bool = False,
) -> tuple[HostArray, Any, dict[str, tuple[int, str]]]:
    """Read the table once; return values, targets, and row and text of the first text in columns
    of numbers."""
    found: dict[str, tuple[int, str]] = {}
    targets: list[Any] = []
    row = 0
    wanted = [*names, *([] if target is None else [target])]
    with Spool(source.name) as spool:
        for piece in source.pieces(wanted):
            if target is not None:
                targets.append(piece[-1])
            rows = len(piece[0])
            values = np.full((rows, len(names)), np.nan)
            for k, name in enumerate(names):
                if name in found:
                    continue
                parser = parsers.get(name)
                try:
                    values[:, k] = _parsed(source, name, piece[k], row, parser)
                except NotNumberError as error:
                    if strict:
                        raise _text_among_numbers(
                            source, name, row + error.row, error.cell
                        ) from None
                    found[name] = row + error.row, error.cell
            spool.append(values)
            row += rows
        if not row:
            raise DataError(f"{source.name}: expected rows below the header, got none")
        return spool.array(), _joined(targets), found


def _parsed(source: Source, name: str, column: Any, row: int, parser: Any) -> HostArray:
    if isinstance(parser, (TextParser, CategoryParser)):
        return parser.parse(column)
    values = parsed_numbers(column) if isinstance(column, list) else column
    with np.errstate(invalid="ignore"):
        largest = np.abs(values.astype(np.float64))
    if (largest >= EXACT).any():  # also infinity
        _check_numbers(source, name, column, values, row)
    return np.asarray(values, np.float64)


def _check_numbers(source: Source, name: str, column: Any, values: HostArray, row: int) -> None:
    """Raise DataError for infinity, and for a whole number beyond 2^53 that float64 rounds."""
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise DataError(
            f"{source.locate(row + int(infinite[0]), name)}: expected a finite number, got "
            f"{values[infinite[0]]}; correct it, drop the row, or leave the column out with "
            f"--drop {name}"
        )
    if isinstance(column, list):
        pairs = enumerate(zip(column, values.tolist(), strict=True))
        rounded = next((k for k, (cell, value) in pairs if is_rounded(cell, value)), None)
    else:
        index = first_rounded(values)
        rounded = None if index is None else index[0]
    if rounded is not None:
        raise rounded_error(source.locate(row + rounded, name), column[rounded])


def _joined(pieces: list[Any]) -> Any:
    if not pieces:
        return None
    if any(isinstance(piece, list) for piece in pieces):  # booleans with gaps in some of them
        lists = [piece if isinstance(piece, list) else map(str, piece.tolist()) for piece in pieces]
        return [cell for piece in lists for cell in piece]
    return np.concatenate(pieces)


def _unfit(source: Source, names: Sequence[str]) -> dict[str, str]:
    """Return the columns that are of another kind than numbers and texts."""
    reasons: dict[Any, str] = {
        "date": "dates or times",
        "other": "neither numbers nor texts",
    }
    return {n: reasons[source.kinds[n]] for n in names if source.kinds[n] in reasons}


def _reason(
    source: Source,
    name: str,
    parser: TextParser,
    rows: int,
    first_text: tuple[int, str] | None,
) -> str | None:
    """Return why a column of texts is left out; None if it is learned from.

    Raises
    ------
    DataError
        If it is a column of numbers with a text in it, which would better be corrected.
    """
    few, present = len(parser.texts), parser.present
    commas = [has_comma(text) for text in parser.texts]
    if any(commas) and all(
        comma or is_number(text) for comma, text in zip(commas, parser.texts, strict=True)
    ):
        example = parser.texts[commas.index(True)]
        raise DataError(
            f"{source.name}, column {name!r}: expected numbers, got {example!r}"
            "; write decimals with a point, and thousands without commas"
        )
    if parser.are_dates:
        return (
            f"dates, such as {parser.texts[0]}; learn from numbers made of them, such as the year"
        )
    mostly_numbers = _is_mostly_numbers(source, name, parser)
    are_categories = few <= FEW and 2 * few <= present and parser.numbers <= MOST * present
    if parser.is_given_up:  # of ticket numbers such as 113803 and PC 17599, many are texts
        mostly_numbers &= sum(map(is_number, parser.texts)) >= MOST * few
    if mostly_numbers and not are_categories and first_text is not None:
        raise _text_among_numbers(source, name, *first_text, is_new=True)
    if parser.is_given_up:
        return f"more than {parser.limit} different texts"
    if 2 * few > present and few > 2:
        return f"texts that hardly recur, {few} different ones in {rows} rows"
    return None


def _is_mostly_numbers(source: Source, name: str, parser: TextParser) -> bool:
    """Return whether most cells of a column without a type are numbers."""
    return source.kinds[name] == "cells" and 2 * parser.numbers > parser.present


def _mixed(name: str, parser: TextParser, example: str) -> str:
    """Describe a column of numbers and a few texts, which is read as categories."""
    texts = parser.present - parser.numbers
    are_texts = "are texts" if texts > 1 else "is a text"
    return (
        f"mixed     {name!r}: {texts} of {parser.present} cells {are_texts}, such as "
        f"{example!r:.40}, so the column is {len(parser.texts)} categories; to read it as numbers, "
        f"empty these cells, which --missing fills, or leave it out with --drop {name}"
    )


def _text_among_numbers(
    source: Source, name: str, row: int, cell: str, *, is_new: bool = False
) -> DataError:
    advice = f"correct it, drop the row, or leave the column out with --drop {name}"
    if has_comma(cell.strip()):
        advice = "write decimals with a point"
    elif not is_new:
        advice = "the model learned numbers; correct it, or empty the cell if it is missing"
    return DataError(
        f"{source.locate(row, name)}: expected a number, got the text {cell.strip()!r:.60}; "
        f"{advice}"
    )


def _notes(
    source: Source, spec: TableSpec, cells: Cells, parsers: dict[str, CategoryParser]
) -> list[str]:
    notes = []
    for k, column in enumerate(spec.columns):
        missing = np.flatnonzero(np.isnan(cells.values[:, k]))
        if isinstance(column, NumberColumn):
            if len(missing) and column.fill is None:
                raise DataError(
                    f"{source.locate(int(missing[0]), column.name)}: expected a number, got a "
                    "missing value; fill it or drop the row, or train with --missing median"
                )
            if len(missing):
                count = _cells(len(missing))
                notes.append(f"{column.name!r}: {count} missing, filled with {column.fill:.6g}")
            continue
        if len(missing):
            how = "as in training" if column.has_missing else "in none of the categories"
            notes.append(f"{column.name!r}: {_cells(len(missing))} missing, {how}")
        unseen = parsers[column.name].unseen
        if unseen:
            most = ", ".join(text for text, _ in unseen.most_common(3))
            more = ", ..." if len(unseen) > 3 else ""
            notes.append(
                f"{column.name!r}: {_cells(unseen.total())} with a text that the model does not "
                f"know ({most}{more}), in none of its categories"
            )
    return notes


def _cells(count: int) -> str:
    return f"{count} cell{'s' * (count != 1)}"

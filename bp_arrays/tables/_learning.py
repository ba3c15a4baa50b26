"""Learn the specification of a table from rows of it: categories, fillings, means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

import numpy as np

from bp_arrays.errors import DataError, InputError
from bp_arrays.tables._rows import Cells
from bp_arrays.tables._source import first_names
from bp_arrays.tables._spec import NumberColumn, TableSpec, TextColumn
from bp_arrays.typing import HostArray

Missing = Literal["median", "mean", "drop", "error"]
"""What becomes of missing values: filled with the median or the mean; their rows are left out;
refused. A missing text is a category of its own where the first two fill numbers."""

MISSING: tuple[str, ...] = get_args(Missing)


class Learned(NamedTuple):
    """A specification, and what was done, in notes of one line."""

    spec: TableSpec
    notes: list[str]


def check_missing(missing: str, where: str) -> None:
    """Raise InputError unless `missing` is one of the policies."""
    if missing not in MISSING:
        raise InputError(f"{where}: expected {', '.join(MISSING)}, got {missing!r}")


def learned(
    cells: Cells,
    rows: HostArray | None,
    *,
    missing: Missing,
    standardize: bool,
    left_out: Mapping[str, str],
    target: str | None,
    classes: tuple[str, ...] | None,
    source: str,
) -> Learned:
    """Learn from rows of the cells, by default from all.

    Raises
    ------
    DataError
        If no column has a value.
    """
    reasons = dict(left_out)
    columns: list[NumberColumn | TextColumn] = []
    filled, constant = [], []
    for k, (name, texts) in enumerate(zip(cells.names, cells.texts, strict=True)):
        if name in reasons:
            continue
        values = cells.values[:, k] if rows is None else cells.values[rows, k]
        absent = np.isnan(values)
        present, gaps = values[~absent], int(absent.sum())
        if not len(present):
            reasons[name] = "no values"
        elif texts and not gaps and present.min() == present.max():
            reasons[name] = "one text only"
        elif texts is not None:
            seen = np.flatnonzero(np.bincount(present.astype(np.int64), minlength=len(texts)))
            categories = tuple(sorted(texts[code] for code in seen))
            columns.append(TextColumn(name, categories, gaps > 0))
            if gaps:
                filled.append(f"{name!r} {gaps} (a category of their own)")
        else:
            column = _number_column(name, values, absent, missing, standardize)
            columns.append(column)
            if present.min() == present.max():
                constant.append(repr(name))
            if gaps:
                filled.append(f"{name!r} {gaps} (the {missing}, {column.fill:.6g})")
    if not columns:
        why = "; ".join(f"{name!r}: {reason}" for name, reason in reasons.items())
        why = f" ({why})" if why else ""
        raise DataError(f"{source}: expected a column to learn from, got none{why}")
    spec = TableSpec(tuple(columns), target, classes, reasons)
    return Learned(spec, _notes(filled, constant))


def _number_column(
    name: str, values: HostArray, absent: HostArray, missing: Missing, standardize: bool
) -> NumberColumn:
    present = values[~absent]
    fill = None
    if missing != "error":
        # halves: the sum of two numbers near the largest would overflow
        fill = float(np.mean(present) if missing == "mean" else np.median(present / 2.0) * 2.0)
    if not standardize:
        return NumberColumn(name, fill)
    complete = values if fill is None else np.where(absent, fill, values)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = float(complete.mean()), float(complete.std())
    if present.min() == present.max():
        return NumberColumn(name, fill, float(present[0]))
    if not (np.isfinite(mean) and 0.0 < scale < np.inf):
        raise DataError(
            f"column {name!r}: expected numbers whose squares float64 represents, got up to "
            f"{np.abs(complete).max():.3g}; change the unit"
        )
    return NumberColumn(name, fill, mean, scale)


def _notes(filled: list[str], constant: list[str]) -> list[str]:
    notes = []
    if filled:
        notes.append(f"missing   {first_names(filled, 8)}")
    if constant:
        notes.append(f"constant  {first_names(constant, 8)}: one value only, which tells nothing")
    return notes

"""Covers: columns by name: distinct, chosen in order, and no comparison of all with all."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from bp_arrays.errors import DataError
from bp_arrays.readers import column_index
from bp_arrays.readers._columns import check_distinct, chosen_columns
from bp_arrays.readers._csv import _check_header
from bp_arrays.readers._parquet_table import _columns

TABLE = Path("table.csv")


class Name(str):
    """A column name that counts the comparisons with others."""

    __slots__ = ()
    comparisons = 0

    def __eq__(self, other):
        Name.comparisons += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def names(count):
    return [Name(f"gene {k}") for k in range(count)]


@pytest.mark.parametrize(
    "look_up",
    [
        lambda wide: chosen_columns(TABLE, wide, "gene 7", names(300), require_target=True),
        lambda wide: _check_header(TABLE, wide, are_chosen=False),
        lambda wide: _columns(TABLE, SimpleNamespace(names=wide, pandas_metadata=None)),
    ],
    ids=["chosen", "CSV header", "Parquet schema"],
)
def test_the_work_grows_with_the_columns_and_not_with_their_square(look_up):
    wide = names(300)
    Name.comparisons = 0
    look_up(wide)
    assert Name.comparisons < 10 * len(wide)


def test_columns_in_the_order_asked_for():
    assert chosen_columns(TABLE, list("abc"), "b", ["c", "a"], require_target=True) == ([2, 0], 1)
    assert chosen_columns(TABLE, list("abc"), "y", None, require_target=False) == ([0, 1, 2], None)
    with pytest.raises(DataError, match="has no column 'heigth': did you mean 'Height'"):
        column_index(TABLE, "heigth", {"a": 0, "Height": 1}, "column")


def test_a_repeated_name_is_named():
    with pytest.raises(DataError, match="expected distinct column names, got 'b' twice"):
        check_distinct(TABLE, list("abcdb"))

"""Numbers and missing values in the cells of a table."""

from __future__ import annotations


def number(cell: str) -> float:
    """Parse the number in a cell; ValueError if it is not one.

    As `float`, but without underscores, which are not part of a number in a table.

    >>> number(" 1.5e3 ")
    1500.0
    """
    if "_" in cell:
        raise ValueError(cell)
    return float(cell)


def is_number(cell: str) -> bool:
    """Return whether a cell contains a number."""
    try:
        number(cell)
    except ValueError:
        return False
    return True


def is_missing(cell: str) -> bool:
    """Return whether a cell is empty or contains "nan"."""
    return cell.strip().lower() in ("", "nan")

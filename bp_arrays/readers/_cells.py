"""What one cell of a table holds."""

from __future__ import annotations


def number(cell: str) -> float:
    """The number in a cell; ValueError if there is none.

    Python's own rule less the underscores, which in a table are no part of a number.

    >>> number(" 1.5e3 ")
    1500.0
    """
    if "_" in cell:
        raise ValueError(cell)
    return float(cell)


def is_number(cell: str) -> bool:
    """Whether `number` finds one."""
    try:
        number(cell)
    except ValueError:
        return False
    return True


def is_missing(cell: str) -> bool:
    """Whether a cell is empty or says that there is no number."""
    return cell.strip().lower() in ("", "nan")

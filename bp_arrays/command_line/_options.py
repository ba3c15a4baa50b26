"""Types of command-line options: each function parses a value, or raises what it expected."""

from __future__ import annotations

import csv
import math
from argparse import ArgumentTypeError

from bp_arrays.errors import InputError
from bp_arrays.readers import check_separator


def count(text: str) -> int:
    """Parse an integer >= 1."""
    return _whole(text, 1)


def seed(text: str) -> int:
    """Parse an integer >= 0."""
    return _whole(text, 0)


def fraction(text: str) -> float:
    """Parse a fraction in [0, 1)."""
    value = _number(text)
    if not 0.0 <= value < 1.0:
        raise ArgumentTypeError(f"expected a fraction in [0, 1), got {text!r}")
    return value


def positive(text: str) -> float:
    """Parse a finite number > 0."""
    value = _number(text)
    if not 0.0 < value < math.inf:
        raise ArgumentTypeError(f"expected a finite number > 0, got {text!r}")
    return value


def at_least_zero(text: str) -> float:
    """Parse a finite number >= 0."""
    value = _number(text)
    if not 0.0 <= value < math.inf:
        raise ArgumentTypeError(f"expected a finite number >= 0, got {text!r}")
    return value


def separator(text: str) -> str:
    """Parse a delimiter: one character, or "tab".

    >>> separator(";"), separator("tab"), separator("\\\\t")
    (';', '\\t', '\\t')
    """
    sep = "\t" if text in ("tab", "\\t") else text
    try:
        check_separator(sep)
    except InputError as error:
        raise ArgumentTypeError(str(error).removeprefix("sep: ")) from None
    return sep


def names(text: str) -> tuple[str, ...]:
    """Parse names of columns, separated by commas; quote a name that has one.

    >>> names("age,fare"), names('"size (m, gross)",rooms')
    (('age', 'fare'), ('size (m, gross)', 'rooms'))
    """
    parts = tuple(part.strip() for part in next(csv.reader([text]), []))
    if not parts or "" in parts:
        raise ArgumentTypeError(f"expected names of columns, separated by commas, got {text!r}")
    return parts


def sizes(text: str) -> tuple[int, ...]:
    """Parse integers separated by commas, or "none".

    >>> sizes("64,32"), sizes("none")
    ((64, 32), ())
    """
    return () if text == "none" else tuple(_whole(part, 1) for part in text.split(","))


def _whole(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise ArgumentTypeError(f"expected an integer >= {least}, got {text!r}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentTypeError(f"expected a number, got {text!r}") from None

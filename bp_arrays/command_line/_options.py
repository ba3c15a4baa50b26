"""What the values of options may be; each function reads one, or says what was expected."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError


def count(text: str) -> int:
    """A whole number of 1 or more."""
    return _whole(text, 1)


def seed(text: str) -> int:
    """A whole number of 0 or more."""
    return _whole(text, 0)


def share(text: str) -> float:
    """A number from 0 up to, but not, 1."""
    value = _number(text)
    if not 0.0 <= value < 1.0:
        raise ArgumentTypeError(f"expected a number from 0 up to, but not, 1, got {text!r}")
    return value


def positive(text: str) -> float:
    """A finite number above 0."""
    value = _number(text)
    if not 0.0 < value < math.inf:
        raise ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def sizes(text: str) -> tuple[int, ...]:
    """Whole numbers with commas between, or "none".

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
        raise ArgumentTypeError(f"expected a whole number of {least} or more, got {text!r}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentTypeError(f"expected a number, got {text!r}") from None

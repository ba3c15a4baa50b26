"""Checks of arguments, and the one format of the errors they raise.

    SGD(momentum=1.5): expected 0 <= momentum < 1
    fit(t=): expected shape (50,) or (50, 3), got (49,)

A short value is shown as in the call; an array is described by its shape or dtype. The checks of a
constructor's fields convert numbers too: a numpy.float64 is an instance of float, yet promotes
every float32 array it is combined with to float64.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from bp_arrays.errors import InputError

SHOWN = 60
"""Maximum number of characters of a value in a message."""


def argument_error(
    where: str, name: str, value: Any, expected: str, advice: str = ""
) -> InputError:
    """Return the InputError of an argument, with its value in the message.

    >>> str(argument_error("SGD", "momentum", 1.5, "0 <= momentum < 1"))
    'SGD(momentum=1.5): expected 0 <= momentum < 1'
    """
    return _error(f"{where}({name}={_shown(value)}): expected {expected}", advice)


def array_error(where: str, name: str, expected: str, got: Any, advice: str = "") -> InputError:
    """Return the InputError of an argument that is described, an array by its shape or dtype.

    >>> str(array_error("fit", "t", "shape (50,)", (49,), "pass one target per row"))
    'fit(t=): expected shape (50,), got (49,); pass one target per row'
    """
    return _error(f"{where}({name}=): expected {expected}, got {got}", advice)


def check_number(
    owner: Any,
    name: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> None:
    """Convert the field `name` of a frozen dataclass to a finite Python float within bounds.

    Raises
    ------
    InputError
        Naming the class, the field, the value and the bounds; a bool is not accepted.
    """
    value = getattr(owner, name)
    number = as_number(type(owner).__name__, name, value, above, at_least, below, at_most)
    object.__setattr__(owner, name, number)


def as_number(
    where: str,
    name: str,
    value: Any,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> float:
    """Return an argument as a finite Python float within bounds.

    Raises
    ------
    InputError
        Naming the function, the argument, the value and the bounds; a bool is not accepted.
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    is_finite = is_number and math.isfinite(value)
    number: Any = value
    within = (
        is_finite
        and (above is None or number > above)
        and (at_least is None or number >= at_least)
        and (below is None or number < below)
        and (at_most is None or number <= at_most)
    )
    if not within:
        low = _bound(above, "{} < ") + _bound(at_least, "{} <= ")
        high = _bound(below, " < {}") + _bound(at_most, " <= {}")
        if low and not high:  # "rate > 0" reads better than "0 < rate"
            low, high = "", _bound(above, " > {}") + _bound(at_least, " >= {}")
        kind = "" if is_finite else "a finite number"
        bounds = f"{low}{name}{high}" if low or high else ""
        raise argument_error(where, name, value, ", ".join(filter(None, (kind, bounds))))
    return float(number)


def check_integer(owner: Any, name: str, *, at_least: int | None = None) -> None:
    """Convert the field `name` of a frozen dataclass to a Python int, `at_least` or more.

    Raises
    ------
    InputError
        Naming the class, the field, the value and the bound; a bool is not accepted.
    """
    value = getattr(owner, name)
    integer = as_integer(type(owner).__name__, name, value, at_least)
    object.__setattr__(owner, name, integer)


def as_integer(where: str, name: str, value: Any, at_least: int | None = None) -> int:
    """Return an argument as a Python int, `at_least` or more.

    Raises
    ------
    InputError
        Naming the function, the argument, the value and the bound; a bool is not accepted.
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or (at_least is not None and value < at_least):
        bound = "" if at_least is None else f"{name} >= {at_least}"
        parts = ("" if whole else "a whole number", bound)
        raise argument_error(where, name, value, ", ".join(filter(None, parts)))
    return operator.index(value)


def check_bool(owner: Any, name: str) -> None:
    """Convert the field `name` of a frozen dataclass to a Python bool.

    Raises
    ------
    InputError
        If it is not a bool of Python or NumPy; 0 and 1 are refused.
    """
    value = getattr(owner, name)
    if not isinstance(value, (bool, np.bool_)):
        raise argument_error(type(owner).__name__, name, value, "True or False")
    object.__setattr__(owner, name, bool(value))


def check_choice(owner: Any, name: str, choices: Sequence[str]) -> None:
    """Check that the field `name` is one of the strings `choices`.

    Raises
    ------
    InputError
        Naming the choices.
    """
    value = getattr(owner, name)
    if not (isinstance(value, str) and value in choices):
        words = " or ".join(f'"{choice}"' for choice in choices)
        raise argument_error(type(owner).__name__, name, value, words)


def check_kind(owner: Any, name: str, kind: type, expected: str) -> None:
    """Check that the field `name` is an instance of a class, called `expected` in the message.

    Raises
    ------
    InputError
        If it is not; with advice if it is a class instead of an instance.
    """
    value = getattr(owner, name)
    if not isinstance(value, kind):
        advice = f"write {value.__name__}()" if isinstance(value, type) else ""
        raise argument_error(type(owner).__name__, name, value, expected, advice)


def check_numbers(
    owner: Any, name: str, *, at_least: float | None = None, above: float | None = None
) -> None:
    """Convert the field `name` of a frozen dataclass to a tuple of floats.

    Raises
    ------
    InputError
        If it is not a sequence of finite numbers > `above`, or >= `at_least` with one of them
        greater.
    """
    value = getattr(owner, name)
    where = type(owner).__name__
    parts = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else []
    try:
        values = tuple(as_number(where, name, part, above, at_least) for part in parts)
    except InputError:
        values = ()
    if not values or (at_least is not None and not any(part > at_least for part in values)):
        bound = f"> {above:g}" if at_least is None else f">= {at_least:g}, one of them above"
        raise argument_error(where, name, value, f"finite numbers {bound}")
    object.__setattr__(owner, name, values)


def last_axis(where: str, input_shape: Sequence[int], name: str = "features") -> int:
    """Return the size of the last axis of a sample, for a layer that acts on it.

    Raises
    ------
    InputError
        If a sample is a single number, or its last axis is empty.
    """
    if not input_shape or input_shape[-1] < 1:
        raise array_error(where, "input", f"shape (..., {name})", tuple(input_shape))
    return input_shape[-1]


def _bound(value: float | None, text: str) -> str:
    return "" if value is None else text.format(f"{value:g}")


def _shown(value: Any) -> str:
    """Return repr(value) on one line, shortened; a NumPy scalar as a Python number."""
    if isinstance(value, np.generic):
        value = value.item()
    text = value.__name__ if isinstance(value, type) else " ".join(repr(value).split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _error(message: str, advice: str) -> InputError:
    return InputError(f"{message}; {advice}" if advice else message)

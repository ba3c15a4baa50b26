"""Checks of hyper-parameters at construction, shared by schedules and optimizers."""

from __future__ import annotations

import math
import numbers
import operator
from typing import Any

from bp_arrays.errors import InputError


def check_number(
    owner: Any,
    name: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
) -> None:
    """Make the field `name` of a frozen dataclass a finite Python float within bounds.

    The conversion matters: a numpy.float64 is a Python float to `isinstance`, yet it turns every
    float32 array that it meets into float64.

    Raises
    ------
    InputError
        Naming the class, the field, the bounds and the value that came.
    """
    value: Any = getattr(owner, name)
    bounds = [
        f"{sign} {bound:g}"
        for sign, bound in ((">", above), (">=", at_least), ("<", below))
        if bound is not None
    ]
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    within = (
        is_number
        and math.isfinite(value)
        and (above is None or value > above)
        and (at_least is None or value >= at_least)
        and (below is None or value < below)
    )
    if not within:
        expected = " ".join(["a finite number", " and ".join(bounds)]).strip()
        raise InputError(f"{type(owner).__name__}: {name} must be {expected}, got {value!r}")
    object.__setattr__(owner, name, float(value))


def check_integer(owner: Any, name: str, *, at_least: int) -> None:
    """Make the field `name` of a frozen dataclass a Python int >= `at_least`.

    Raises
    ------
    InputError
        Naming the class, the field, the bound and the value that came.
    """
    value = getattr(owner, name)
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < at_least:
        raise InputError(
            f"{type(owner).__name__}: {name} must be a whole number >= {at_least}, got {value!r}"
        )
    object.__setattr__(owner, name, operator.index(value))

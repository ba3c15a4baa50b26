"""Elementwise functions by mpmath to 50 digits, or by Python's math module without it."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

SIMPLE: dict[str, Callable[[float], float]] = {
    "abs": abs,
    "floor": math.floor,
    "sign": lambda a: (a > 0) - (a < 0),
}


def witness_name() -> str:
    """Return the name of what computes the values here."""
    return "mpmath" if _has_mpmath() else "Python's math"


def elementwise_witness(name: str, values: Iterable[Any]) -> list[float]:
    """Return the function of each value, rounded once."""
    return [_value(name, float(value)) for value in values]


@cache
def _has_mpmath() -> bool:
    return importlib.util.find_spec("mpmath") is not None


def _value(name: str, value: float) -> float:
    if name in SIMPLE:
        return float(SIMPLE[name](value))
    if not math.isfinite(value) or not _has_mpmath():
        return float(getattr(math, name)(value))
    import mpmath

    with mpmath.workdps(50):
        return float(getattr(mpmath, name)(mpmath.mpf(value)))

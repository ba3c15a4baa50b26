"""Derivatives measured: by central differences, which know nothing of any formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

STEP = float(np.finfo(np.float64).eps) ** (1 / 3)
"""Relative to the place: where the errors of rounding and of the difference balance."""


def central_difference(f: Callable[[float], Any], at: float) -> Any:
    """(f(x + h) − f(x − h)) / 2h, of a function that gives a number or an array."""
    h = STEP * max(1.0, abs(at))
    above, below = at + h, at - h  # as they are rounded: their distance is not quite 2h
    return (f(above) - f(below)) / (above - below)

"""Central differences: derivatives that do not depend on any formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

STEP = float(np.finfo(np.float64).eps) ** (1 / 3)
"""Step h relative to x, at which rounding and truncation errors balance."""


def central_difference(f: Callable[[float], Any], x: float) -> Any:
    """Compute (f(x + h) − f(x − h)) / 2h of a function that returns a number or an array."""
    h = STEP * max(1.0, abs(x))
    above, below = x + h, x - h  # rounded: their distance is not exactly 2h
    return (f(above) - f(below)) / (above - below)

"""Cosine decay of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bp_arrays.checks import check_integer, check_number
from bp_arrays.schedules._schedule import Schedule


@dataclass(frozen=True)
class Cosine(Schedule):
    """η(t) = final + (initial − final) · (1 + cos(π t / steps)) / 2, and `final` from `steps` on.

    Parameters
    ----------
    initial : float
        Learning rate of the first update, > 0.
    steps : int
        The number of updates from `initial` to `final`, >= 1.
    final : float, default 0.0
        Learning rate at the end, >= 0.

    Raises
    ------
    InputError
        If a parameter is out of its range.

    Notes
    -----
    Loshchilov, Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017,
    equation 5, without the restarts.

    Examples
    --------
    >>> [round(Cosine(1.0, steps=2)(step), 6) for step in range(4)]
    [1.0, 0.5, 0.0, 0.0]
    """

    initial: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        check_number(self, "initial", above=0.0)
        check_integer(self, "steps", at_least=1)
        check_number(self, "final", at_least=0.0)

    def __call__(self, step: int, monitored: Sequence[float] = ()) -> float:
        return cosine_between(self.initial, self.final, step / self.steps)


def cosine_between(start: float, end: float, fraction: float) -> float:
    """Interpolate along half a cosine: `start` at fraction 0, `end` at fraction 1 and beyond."""
    # halved before the product, which could overflow
    return end + (start - end) * ((1.0 + math.cos(math.pi * min(fraction, 1.0))) / 2.0)

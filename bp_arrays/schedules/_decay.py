"""Step decay and exponential decay of the learning rate."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bp_arrays.checks import check_integer, check_number
from bp_arrays.errors import InputError
from bp_arrays.schedules._schedule import Schedule

MAX_EXPONENT, POWER_EXPONENT = 709.78, 700.0
"""Natural logarithms up to which a rate is a float, and up to which a power is a normal one."""


@dataclass(frozen=True)
class StepDecay(Schedule):
    """Step decay: η(t) = initial · factor^⌊t / every⌋.

    Parameters
    ----------
    initial : float
        Learning rate of the first `every` updates, > 0.
    factor : float
        The rate is multiplied by it after every `every` updates, > 0.
    every : int
        The number of updates with the same rate, >= 1.

    Raises
    ------
    InputError
        If a parameter is out of its range; when called, if a rate that grows is beyond the largest
        float.

    Examples
    --------
    >>> [StepDecay(0.8, factor=0.5, every=2)(step) for step in range(5)]
    [0.8, 0.8, 0.4, 0.4, 0.2]
    """

    initial: float
    factor: float
    every: int

    def __post_init__(self) -> None:
        check_number(self, "initial", above=0.0)
        check_number(self, "factor", above=0.0)
        check_integer(self, "every", at_least=1)

    def __call__(self, step: int, monitored: Sequence[float] = ()) -> float:
        return _geometric(self, self.factor, step // self.every, step)


@dataclass(frozen=True)
class Exponential(Schedule):
    """Exponential decay: η(t) = initial · decayᵗ.

    Parameters
    ----------
    initial : float
        Learning rate of the first update, > 0.
    decay : float
        The rate is multiplied by it after every update, > 0; above 1 the rate grows, as in a
        search for the largest usable one.

    Raises
    ------
    InputError
        If a parameter is out of its range; when called, if a rate that grows is beyond the largest
        float.

    Examples
    --------
    >>> [Exponential(0.8, decay=0.5)(step) for step in range(3)]
    [0.8, 0.4, 0.2]
    """

    initial: float
    decay: float

    def __post_init__(self) -> None:
        check_number(self, "initial", above=0.0)
        check_number(self, "decay", above=0.0)

    def __call__(self, step: int, monitored: Sequence[float] = ()) -> float:
        return _geometric(self, self.decay, step, step)


def _geometric(schedule: StepDecay | Exponential, factor: float, power: int, step: int) -> float:
    """Return initial · factor^power, also where the power alone is beyond the range of floats."""
    exponent = math.log(schedule.initial) + power * math.log(factor)
    if exponent > MAX_EXPONENT:
        raise InputError(
            f"{schedule}: expected a rate below {sys.float_info.max:.3g}, got a larger one for "
            f"update {step}; use a smaller factor or fewer updates"
        )
    if abs(power * math.log(factor)) < POWER_EXPONENT:
        return schedule.initial * factor**power
    return math.exp(exponent)  # 0 if it is below the smallest float

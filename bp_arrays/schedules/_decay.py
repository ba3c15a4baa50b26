"""Step decay and exponential decay of the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bp_arrays.checks import check_integer, check_number
from bp_arrays.schedules._schedule import Schedule


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
        If a parameter is out of its range.

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
        return self.initial * self.factor ** (step // self.every)


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
        If a parameter is out of its range.

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
        return self.initial * self.decay**step

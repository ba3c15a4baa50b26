"""A constant learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bp_arrays.checks import check_number
from bp_arrays.schedules._schedule import Schedule


@dataclass(frozen=True)
class Constant(Schedule):
    """A constant learning rate: η(t) = value.

    Parameters
    ----------
    value : float
        Learning rate, > 0.

    Raises
    ------
    InputError
        If the value is not finite and > 0.

    Examples
    --------
    >>> Constant(0.1)(1000)
    0.1
    """

    value: float

    def __post_init__(self) -> None:
        check_number(self, "value", above=0.0)

    def __call__(self, step: int, monitored: Sequence[float] = ()) -> float:
        return self.value

"""`Warmup`: a linear increase of the learning rate before another schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bp_arrays.checks import as_number, check_integer
from bp_arrays.schedules._constant import Constant
from bp_arrays.schedules._schedule import Schedule


@dataclass(frozen=True)
class Warmup(Schedule):
    """η(t) = then(0) · (t + 1) / (steps + 1) for t < steps, then(t − steps) after that.

    A linear increase that starts above zero, so that the first update has an effect, and reaches
    the first rate of `then` at update `steps`.

    Parameters
    ----------
    steps : int
        The number of updates before the full rate, >= 1.
    then : Schedule or float
        The schedule that follows, or a constant learning rate.

    Raises
    ------
    InputError
        If a parameter is out of its range.

    Notes
    -----
    Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017,
    section 2.2.

    Examples
    --------
    >>> [Warmup(3, then=0.8)(step) for step in range(5)]
    [0.2, 0.4, 0.6000000000000001, 0.8, 0.8]
    """

    steps: int
    then: Schedule | float

    def __post_init__(self) -> None:
        check_integer(self, "steps", at_least=1)
        if not isinstance(self.then, Schedule):
            rate = as_number("Warmup", "then", self.then, above=0.0)
            object.__setattr__(self, "then", Constant(rate))

    def __call__(self, step: int, monitored: Sequence[float] = ()) -> float:
        assert isinstance(self.then, Schedule)  # converted in __post_init__
        full_rate = self.then(max(step - self.steps, 0), monitored)
        return full_rate * min((step + 1) / (self.steps + 1), 1.0)

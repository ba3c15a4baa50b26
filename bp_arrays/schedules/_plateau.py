"""`ReduceOnPlateau`: reduce the learning rate when the monitored loss stops improving."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bp_arrays.checks import check_integer, check_number
from bp_arrays.schedules._schedule import Schedule


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    """A rate multiplied by `factor` after more than `patience` epochs without a new best loss.

    A loss is a new best if it is below the best so far by more than the fraction `threshold` of
    it; NaN never is. The rate is computed from the whole history of the loss at each call, so
    continued training has the rate it would have had without the interruption. The rule is that
    of torch.optim.lr_scheduler.ReduceLROnPlateau (mode "min", relative threshold, eps=0).

    Parameters
    ----------
    initial : float
        The first learning rate, > 0.
    factor : float, default 0.1
        In (0, 1).
    patience : int, default 10
        Epochs without a new best loss that do not reduce the rate, >= 0.
    threshold : float, default 1e-4
        The relative improvement that a new best loss requires, in [0, 1).
    minimum : float, default 0.0
        The rate is never reduced below it, >= 0.

    Raises
    ------
    InputError
        If a parameter is out of its range.

    Examples
    --------
    >>> falls = ReduceOnPlateau(0.8, factor=0.5, patience=1)
    >>> falls(300, [0.3, 0.2, 0.2]), falls(400, [0.3, 0.2, 0.2, 0.2])
    (0.8, 0.4)
    """

    initial: float
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    minimum: float = 0.0

    def __post_init__(self) -> None:
        check_number(self, "initial", above=0.0)
        check_number(self, "factor", above=0.0, below=1.0)
        check_integer(self, "patience", at_least=0)
        check_number(self, "threshold", at_least=0.0, below=1.0)
        check_number(self, "minimum", at_least=0.0)

    def __call__(self, step: int, monitored: Sequence[float] = ()) -> float:
        rate, best, waited = self.initial, math.inf, 0
        for loss in monitored:
            # a negative loss improves away from zero, so the sign of the best matters
            if loss < best * (1.0 - math.copysign(self.threshold, best)):
                best, waited = float(loss), 0
            else:
                waited += 1
            if waited > self.patience:
                # min: a `minimum` above the initial rate must not raise it
                rate, waited = min(rate, max(rate * self.factor, self.minimum)), 0
        return rate

"""The optimizer of an estimator: a new one from its parameters, and the rate set between epochs."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from bp_arrays.estimators._parameters import StochasticParameters
from bp_arrays.optimizers import AdamEpsilonHat, ClassicalMomentum, Optimizer, optimizer_named
from bp_arrays.schedules import Schedule


class EpochRate(Schedule):
    """A learning rate that `Convergence` sets between epochs, from losses and scores."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self, step: int, monitored: Sequence[float] = ()) -> float:
        return self.value


def new_optimizer(estimator: StochasticParameters) -> Optimizer:
    """Return the optimizer of a solver, an object that no model has been trained by.

    An optimizer passed as the solver is copied: `bp.fit` continues with the state of the object
    that it was last called with, and a fit of an estimator starts anew.
    """
    solver, rate = estimator.solver, estimator.learning_rate_init
    if isinstance(solver, Optimizer):
        return copy.copy(solver)
    if solver not in ("sgd", "adam"):
        return optimizer_named(solver)(rate if isinstance(rate, Schedule) else float(rate))
    schedule = rate if isinstance(rate, Schedule) else EpochRate(rate)
    if solver == "sgd":
        momentum, nesterov = float(estimator.momentum), bool(estimator.nesterovs_momentum)
        return ClassicalMomentum(schedule, momentum, nesterov)
    return AdamEpsilonHat(schedule, estimator.beta_1, estimator.beta_2, estimator.epsilon)

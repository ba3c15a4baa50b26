"""Optimizers: update rules on one flat vector of parameters, and transforms of the gradient."""

from bp_arrays.names import by_name
from bp_arrays.optimizers._adagrad import Adagrad
from bp_arrays.optimizers._adam import Adam, AdamW, one_minus_power
from bp_arrays.optimizers._average import EMA
from bp_arrays.optimizers._chain import Chain
from bp_arrays.optimizers._loss_scaling import (
    FIRST_SCALE,
    SMALLEST_SCALE,
    scaled_update,
    scales_loss,
)
from bp_arrays.optimizers._optimizer import Optimizer, Scalars, State
from bp_arrays.optimizers._rmsprop import RMSProp
from bp_arrays.optimizers._scikit_learn import (
    AdamEpsilonHat as AdamEpsilonHat,  # not public
    ClassicalMomentum as ClassicalMomentum,
)
from bp_arrays.optimizers._sgd import SGD
from bp_arrays.optimizers._training_state import BestSoFar, TrainingState
from bp_arrays.optimizers._transforms import ClipByGlobalNorm, Transform, WeightDecay

OPTIMIZERS: dict[str, type[Optimizer]] = {
    kind.__name__: kind for kind in (SGD, RMSProp, Adagrad, Adam, AdamW)
}
"""Optimizer classes by name; all their arguments have defaults."""

ESTIMATOR_OPTIMIZERS: dict[str, type[Optimizer]] = {
    kind.__name__: kind for kind in (ClassicalMomentum, AdamEpsilonHat)
}
"""The forms of SGD and Adam that only the estimators use; their model files name them."""


def optimizer_named(name: str) -> type[Optimizer]:
    """Return the optimizer class of this name; case, "-" and "_" are ignored.

    >>> optimizer_named("sgd")(0.5)
    SGD(learning_rate=0.5, momentum=0.0, nesterov=False)
    """
    return by_name("optimizer", name, OPTIMIZERS)


__all__ = [
    "EMA",
    "ESTIMATOR_OPTIMIZERS",
    "FIRST_SCALE",
    "OPTIMIZERS",
    "SGD",
    "SMALLEST_SCALE",
    "Adagrad",
    "Adam",
    "AdamW",
    "BestSoFar",
    "Chain",
    "ClipByGlobalNorm",
    "Optimizer",
    "RMSProp",
    "Scalars",
    "State",
    "TrainingState",
    "Transform",
    "WeightDecay",
    "one_minus_power",
    "optimizer_named",
    "scaled_update",
    "scales_loss",
]

"""How the parameters move: update rules on one flat vector, and what may stand before them."""

from bp_arrays.names import by_name
from bp_arrays.optimizers._adagrad import Adagrad
from bp_arrays.optimizers._adam import Adam, AdamW, one_minus_power
from bp_arrays.optimizers._chain import Chain
from bp_arrays.optimizers._optimizer import Optimizer, Scalars, State
from bp_arrays.optimizers._rmsprop import RMSProp
from bp_arrays.optimizers._sgd import SGD
from bp_arrays.optimizers._training_state import TrainingState
from bp_arrays.optimizers._transforms import ClipByGlobalNorm, Transform, WeightDecay

OPTIMIZERS: dict[str, type[Optimizer]] = {
    kind.__name__: kind for kind in (SGD, RMSProp, Adagrad, Adam, AdamW)
}
"""Every update rule by name; each has a default for all its parameters."""


def optimizer_named(name: str) -> type[Optimizer]:
    """The optimizer of that name; capitals, "-" and "_" do not matter.

    >>> optimizer_named("sgd")(0.5)
    SGD(learning_rate=0.5, momentum=0.0, nesterov=False)
    """
    return by_name("optimizer", name, OPTIMIZERS)


__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
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
]

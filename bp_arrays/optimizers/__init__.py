"""How the parameters move: update rules on one flat vector, and what may stand before them."""

from bp_arrays.errors import unknown_name
from bp_arrays.optimizers.adagrad import Adagrad
from bp_arrays.optimizers.adam import Adam, AdamW
from bp_arrays.optimizers.chain import Chain
from bp_arrays.optimizers.optimizer import Optimizer, Scalars, State
from bp_arrays.optimizers.rmsprop import RMSProp
from bp_arrays.optimizers.sgd import SGD
from bp_arrays.optimizers.transforms import ClipByGlobalNorm, Transform, WeightDecay

OPTIMIZERS: dict[str, type[Optimizer]] = {
    kind.__name__: kind for kind in (SGD, RMSProp, Adagrad, Adam, AdamW)
}
"""Every update rule by name; each has a default for all its parameters."""


def optimizer_named(name: str) -> type[Optimizer]:
    """The optimizer of that name; capitals, "-" and "_" do not matter.

    >>> optimizer_named("sgd")(0.5)
    SGD(learning_rate=0.5, momentum=0.0, nesterov=False)
    """
    plain = str(name).lower().replace("-", "").replace("_", "")
    for known, kind in OPTIMIZERS.items():
        if known.lower() == plain:
            return kind
    raise unknown_name("optimizer", name, OPTIMIZERS)


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
    "Transform",
    "WeightDecay",
    "optimizer_named",
]

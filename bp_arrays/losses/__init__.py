"""Losses: a value and its derivative from one place, weights and reduction in another."""

from bp_arrays.errors import unknown_name
from bp_arrays.losses.cross_entropy import BinaryCrossEntropy, CrossEntropy
from bp_arrays.losses.difference import Huber, L2Loss, MeanAbsoluteError, MeanSquaredError
from bp_arrays.losses.loss import Loss

LOSSES: dict[str, type[Loss]] = {
    kind.__name__: kind
    for kind in (
        L2Loss,
        MeanSquaredError,
        MeanAbsoluteError,
        Huber,
        BinaryCrossEntropy,
        CrossEntropy,
    )
}
"""Every loss by name; none needs an argument."""


def loss_named(name: str) -> type[Loss]:
    """The loss of that name; capitals, "-" and "_" do not matter, nor does a final "loss".

    >>> loss_named("cross-entropy").__name__, loss_named("l2").__name__
    ('CrossEntropy', 'L2Loss')
    """
    plain = str(name).lower().replace("-", "").replace("_", "").removesuffix("loss")
    for known, kind in LOSSES.items():
        if known.lower().removesuffix("loss") == plain:
            return kind
    raise unknown_name("loss", name, LOSSES)


__all__ = [
    "LOSSES",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Huber",
    "L2Loss",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "loss_named",
]

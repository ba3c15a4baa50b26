"""Losses: a value and its derivative from one place, weights and reduction in another."""

from bp_arrays.losses._cross_entropy import BinaryCrossEntropy, CrossEntropy
from bp_arrays.losses._difference import Huber, L2Loss, MeanAbsoluteError, MeanSquaredError
from bp_arrays.losses._loss import Loss, PerSample
from bp_arrays.names import by_name

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
    return by_name("loss", name, LOSSES, suffix="loss")


__all__ = [
    "LOSSES",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Huber",
    "L2Loss",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "PerSample",
    "loss_named",
]

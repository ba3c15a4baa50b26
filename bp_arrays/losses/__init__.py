"""Loss functions: the loss of each sample with its derivative, weights and reduction."""

from bp_arrays.losses._combined import CombinedLoss
from bp_arrays.losses._contrastive import Contrastive
from bp_arrays.losses._cosine import CosineSimilarity
from bp_arrays.losses._cross_entropy import BinaryCrossEntropy, CrossEntropy
from bp_arrays.losses._ctc import CTC
from bp_arrays.losses._difference import Huber, L2Loss, MeanAbsoluteError, MeanSquaredError
from bp_arrays.losses._divergence import KLDivergence
from bp_arrays.losses._doubled import doubled_activations, last_layer
from bp_arrays.losses._elementwise import ElementwiseLoss, PerTarget
from bp_arrays.losses._ensemble import EnsembleLoss
from bp_arrays.losses._hinge import Hinge, MultiMargin, SquaredHinge
from bp_arrays.losses._likelihood import GaussianNLL, PoissonNLL
from bp_arrays.losses._loss import Loss, PerSample
from bp_arrays.losses._triplet import TripletMargin
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
"""Losses of one output by name; all their arguments have defaults."""


def loss_named(name: str) -> type[Loss]:
    """Return the loss class of this name; case, "-", "_" and a final "loss" are ignored.

    >>> loss_named("cross-entropy").__name__, loss_named("l2").__name__
    ('CrossEntropy', 'L2Loss')
    """
    return by_name("loss", name, LOSSES, suffix="loss")


__all__ = [
    "CTC",
    "LOSSES",
    "BinaryCrossEntropy",
    "CombinedLoss",
    "Contrastive",
    "CosineSimilarity",
    "CrossEntropy",
    "ElementwiseLoss",
    "EnsembleLoss",
    "GaussianNLL",
    "Hinge",
    "Huber",
    "KLDivergence",
    "L2Loss",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "MultiMargin",
    "PerSample",
    "PerTarget",
    "PoissonNLL",
    "SquaredHinge",
    "TripletMargin",
    "doubled_activations",
    "last_layer",
    "loss_named",
]

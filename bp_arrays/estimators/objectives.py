"""What a network is trained on, and how its raw outputs become probabilities or predictions.

Losses of probabilities take the raw outputs, which is more accurate; then the output activation
comes in only for predictions. Every other loss sees what predictions see: the activation is the
last layer of the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bp_arrays.activations import Sigmoid, Softmax, activation_named
from bp_arrays.activations.elementwise import logistic
from bp_arrays.errors import InputError
from bp_arrays.estimators.losses import PoissonLoss, SummedBinaryCrossEntropy
from bp_arrays.layers import Context, Layer
from bp_arrays.losses import BinaryCrossEntropy, CrossEntropy, L2Loss, Loss, loss_named
from bp_arrays.typing import Array, Namespace


@dataclass(frozen=True)
class Objective:
    """A loss and the output activation that belongs to it.

    Parameters
    ----------
    loss : Loss
    out_activation : str
        "identity", "logistic", "softmax" or "exp": scikit-learn's names.
    takes_raw : bool
        Whether the loss is of the raw outputs, those before the output activation.
    """

    loss: Loss
    out_activation: str
    takes_raw: bool

    @property
    def last_layer(self) -> Layer | None:
        """The output activation, where it is a part of the network that is trained."""
        if self.takes_raw or self.out_activation == "identity":
            return None
        return {"logistic": Sigmoid, "softmax": Softmax}[self.out_activation]()

    def activated(self, y: Array, xp: Namespace) -> Array:
        """The output activation of the network's outputs y (rows, outputs)."""
        if not self.takes_raw or self.out_activation == "identity":
            return y
        if self.out_activation == "softmax":
            return Softmax().forward({}, y, Context(xp))[0]
        return xp.exp(y) if self.out_activation == "exp" else logistic(y, xp)


def classifying(loss: str | Loss, kind: str) -> Objective:
    """The objective for targets of the kind "binary", "multiclass" or "multilabel-indicator".

    Raises
    ------
    InputError
        For an unknown loss, or one that such targets cannot have.
    """
    if loss == "log_loss":
        if kind == "multiclass":
            return Objective(CrossEntropy(), "softmax", True)
        if kind == "binary":
            return Objective(BinaryCrossEntropy(), "logistic", True)
        return Objective(SummedBinaryCrossEntropy(), "logistic", True)
    loss = _instance(loss, "log_loss")
    if isinstance(loss, CrossEntropy):
        if kind == "multilabel-indicator":
            raise InputError(
                "loss=CrossEntropy() is for exactly one class a sample, but y has several "
                "labels a sample: use BinaryCrossEntropy()"
            )
        return Objective(loss, "softmax", True)
    if isinstance(loss, BinaryCrossEntropy):
        if kind == "multiclass":
            raise InputError(
                "loss=BinaryCrossEntropy() is for two classes or several labels a sample, but "
                "y has more than two classes: use CrossEntropy()"
            )
        return Objective(loss, "logistic", True)
    return Objective(loss, "softmax" if kind == "multiclass" else "logistic", False)


def regressing(loss: str | Loss) -> Objective:
    """The objective for real targets.

    Raises
    ------
    InputError
        For an unknown loss.
    """
    if loss == "squared_error":
        return Objective(L2Loss(), "identity", True)
    if loss == "poisson":
        return Objective(PoissonLoss(), "exp", True)
    loss = _instance(loss, "squared_error")
    if isinstance(loss, CrossEntropy):
        return Objective(loss, "softmax", True)
    return Objective(loss, "logistic" if isinstance(loss, BinaryCrossEntropy) else "identity", True)


def _instance(loss: Any, default: str) -> Loss:
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str):
        raise InputError(
            f"loss: expected {default!r}, the name of a loss or a loss such as "
            f"L2Loss(), got {loss!r}"
        )
    return loss_named(loss)()


def activation_layer(activation: Any) -> Layer:
    """A hidden activation by scikit-learn's name, by ours, or as it is.

    >>> activation_layer("logistic"), activation_layer("gelu")
    (Sigmoid(), GELU(exact=False))
    """
    if isinstance(activation, Layer):
        return activation
    if not isinstance(activation, str):
        raise InputError(
            "activation: expected a name such as 'relu', an activation such as LeakyReLU(0.2), "
            f"or one of these for each hidden layer, got {activation!r}"
        )
    return Sigmoid() if activation == "logistic" else activation_named(activation)()

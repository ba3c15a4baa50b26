"""What a network is trained on, and how its raw outputs become probabilities or predictions.

Losses of probabilities take the raw outputs, which is more accurate; then the output activation
comes in only for predictions. Every other loss sees what predictions see: the activation is the
last layer of the network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.activations import ACTIVATIONS, Sigmoid, Softmax, activation_named
from bp_arrays.devices import device_of
from bp_arrays.errors import InputError, unknown_name
from bp_arrays.estimators._losses import PoissonLoss, SummedBinaryCrossEntropy
from bp_arrays.kernels import logistic
from bp_arrays.layers import Context, Layer
from bp_arrays.losses import LOSSES, BinaryCrossEntropy, CrossEntropy, L2Loss, Loss, loss_named
from bp_arrays.typing import Array, HostArray, Namespace

REACHED = {
    "identity": (-math.inf, math.inf),
    "logistic": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "exp": (0.0, math.inf),
}
"""The range of each output activation: targets beyond it cannot be learnt."""


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
        return xp.exp(y) if self.out_activation == "exp" else logistic(y, xp=xp)

    def probabilities(self, y: Array) -> Array:
        """The probability of each class or label, by a classifier's outputs y (rows, outputs).

        One output alone is the second of two classes, and has the first beside it.
        """
        xp = device_of(y).xp
        if y.shape[1] > 1:
            return self.activated(y, xp)
        if self.takes_raw:  # 1 − σ(y) = σ(−y), without cancellation
            return xp.concat([logistic(-y, xp=xp), logistic(y, xp=xp)], axis=1)
        return xp.concat([1.0 - y, y], axis=1)

    def choice(self, y: Array, *, several: bool) -> Array:
        """The number of the most probable class (rows,); with several labels, which are so."""
        yes = y > (0.0 if self.takes_raw else 0.5)
        if several:
            return yes
        xp = device_of(y).xp
        return xp.astype(yes[:, 0], xp.int32) if y.shape[1] == 1 else xp.argmax(y, axis=1)


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
    loss = loss_of(loss, "log_loss")
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


def regressing(loss: str | Loss, targets: HostArray) -> Objective:
    """The objective for real targets (samples, outputs).

    Raises
    ------
    InputError
        For an unknown loss, or targets that no output can reach.
    """
    if loss == "squared_error":
        return Objective(L2Loss(), "identity", True)
    if loss == "poisson":
        objective = Objective(PoissonLoss(), "exp", True)
    else:
        loss = loss_of(loss, "squared_error", "poisson")
        kinds = {CrossEntropy: "softmax", BinaryCrossEntropy: "logistic"}
        objective = Objective(loss, kinds.get(type(loss), "identity"), True)
    if objective.out_activation == "softmax" and targets.shape[1] < 2:
        raise InputError(
            "loss=CrossEntropy() in a regressor is for shares of a whole, with two or more "
            "columns in y, but y has one: use BinaryCrossEntropy(), or MLPClassifier for classes"
        )
    low, high = REACHED[objective.out_activation]
    outside = (targets < low) | (targets > high)
    if outside.any():
        where = tuple(np.argwhere(outside)[0])
        raise InputError(
            f"y[{where[0]}] is {targets[where]}: with loss={loss!r}, targets must be "
            f"{low:g} or more" + (f" and at most {high:g}" if high < math.inf else "")
        )
    return objective


def loss_of(loss: Any, *scikit_learn: str) -> Loss:
    """A loss of ours by name, or as it is.

    Raises
    ------
    InputError
        For anything else; the message names the losses there are, `scikit_learn`'s among them.

    >>> loss_of("mean-squared-error", "squared_error")
    MeanSquaredError(reduction='mean')
    """
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str):
        raise InputError(
            f"loss: expected {scikit_learn[0]!r}, the name of a loss or a loss such as "
            f"L2Loss(), got {loss!r}"
        )
    try:
        return loss_named(loss)()
    except InputError:
        raise unknown_name("loss", loss, [*scikit_learn, *LOSSES]) from None


def activation_layer(activation: Any) -> Layer:
    """A hidden activation by scikit-learn's name, by ours, or as it is.

    Raises
    ------
    InputError
        For anything else; the message names the activations there are.

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
    if activation == "logistic":
        return Sigmoid()
    try:
        return activation_named(activation)()
    except InputError:
        raise unknown_name("activation", activation, ["logistic", *ACTIVATIONS]) from None

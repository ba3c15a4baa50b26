"""`TrainingObjective`: a loss with its output activation, and predictions from raw outputs.

Losses of probabilities take the raw outputs, which is more accurate; the output activation is
then applied to predictions only. For every other loss it is the last layer of the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bp_arrays.activations import ACTIVATIONS, Sigmoid, Softmax, activation_named
from bp_arrays.devices import device_of
from bp_arrays.errors import InputError, unknown_name
from bp_arrays.estimators._losses import PoissonLoss, SummedBinaryCrossEntropy
from bp_arrays.inputs import first_bad_sum, first_outside, target_out_of_range
from bp_arrays.kernels import logistic
from bp_arrays.layers import Context, Layer
from bp_arrays.losses import (
    LOSSES,
    BinaryCrossEntropy,
    CrossEntropy,
    KLDivergence,
    L2Loss,
    Loss,
    PoissonNLL,
    loss_named,
)
from bp_arrays.typing import Array, HostArray, Namespace


@dataclass(frozen=True)
class TrainingObjective:
    """A loss and its output activation.

    Parameters
    ----------
    loss : Loss
    out_activation : str
        "identity", "logistic", "softmax" or "exp": scikit-learn's names.
    takes_raw : bool
        Whether the loss takes the raw outputs, those before the output activation.
    """

    loss: Loss
    out_activation: str
    takes_raw: bool

    @property
    def last_layer(self) -> Layer | None:
        """The output activation as a layer, if it is part of the network."""
        if self.takes_raw or self.out_activation == "identity":
            return None
        return {"logistic": Sigmoid, "softmax": Softmax}[self.out_activation]()

    def activated(self, y: Array, xp: Namespace) -> Array:
        """Apply the output activation to the network's outputs y (rows, ..., outputs)."""
        if not self.takes_raw or self.out_activation == "identity":
            return y
        if self.out_activation == "softmax":
            return Softmax().forward({}, y, Context(xp))[0]
        return xp.exp(y) if self.out_activation == "exp" else logistic(y, xp=xp)

    def probabilities(self, y: Array) -> Array:
        """Return the probability of each class or label for a classifier's outputs (rows, outputs).

        A single output is the second of two classes; the first is prepended. Of an ensemble's
        outputs (rows, members, outputs) it is the mean over the members.
        """
        xp = device_of(y).xp
        if y.ndim == 3:
            return xp.mean(self._probabilities(y, xp), axis=1)
        return self._probabilities(y, xp)

    def _probabilities(self, y: Array, xp: Namespace) -> Array:
        if y.shape[-1] > 1:
            return self.activated(y, xp)
        if self.takes_raw:  # 1 − σ(y) = σ(−y), without cancellation
            return xp.concat([logistic(-y, xp=xp), logistic(y, xp=xp)], axis=-1)
        return xp.concat([1.0 - y, y], axis=-1)

    def values(self, y: Array) -> Array:
        """Return the values (rows, outputs) for a regressor's outputs, the mean over members."""
        xp = device_of(y).xp
        values = self.activated(y, xp)
        return xp.mean(values, axis=1) if y.ndim == 3 else values

    def choice(self, y: Array, *, multilabel: bool) -> Array:
        """Return the most probable class (rows,) or, with `multilabel`, a boolean per label."""
        if y.ndim == 3:  # of the mean probabilities
            p = self.probabilities(y)
            return p > 0.5 if multilabel else device_of(p).xp.argmax(p, axis=1)
        probable = y > (0.0 if self.takes_raw else 0.5)
        if multilabel:
            return probable
        xp = device_of(y).xp
        return xp.astype(probable[:, 0], xp.int32) if y.shape[1] == 1 else xp.argmax(y, axis=1)


def classifying(loss: str | Loss, kind: str) -> TrainingObjective:
    """Return the objective for "binary", "multiclass" or "multilabel-indicator" targets.

    Raises
    ------
    InputError
        For an unknown loss, or one that does not apply to such targets.
    """
    if loss == "log_loss":
        if kind == "multiclass":
            return TrainingObjective(CrossEntropy(), "softmax", True)
        if kind == "binary":
            return TrainingObjective(BinaryCrossEntropy(), "logistic", True)
        return TrainingObjective(SummedBinaryCrossEntropy(), "logistic", True)
    loss = loss_of(loss, "log_loss")
    if isinstance(loss, CrossEntropy):
        if kind == "multilabel-indicator":
            raise InputError(
                "loss=CrossEntropy(): expected one class per sample, got several labels per "
                "sample; use BinaryCrossEntropy()"
            )
        return TrainingObjective(loss, "softmax", True)
    if isinstance(loss, BinaryCrossEntropy):
        if kind == "multiclass":
            raise InputError(
                "loss=BinaryCrossEntropy(): expected two classes, or several labels per sample, "
                "got more than two classes; use CrossEntropy()"
            )
        return TrainingObjective(loss, "logistic", True)
    if loss.output_kind in ("logits", "logarithms"):
        raise InputError(
            f"loss={type(loss).__name__}(): expected CrossEntropy(), BinaryCrossEntropy(), or a "
            "loss that compares probabilities with 0 and 1, such as MeanSquaredError(); train "
            "with other losses by bp.fit"
        )
    return TrainingObjective(loss, "softmax" if kind == "multiclass" else "logistic", False)


def regressing(loss: str | Loss, targets: HostArray) -> TrainingObjective:
    """Return the objective for real targets (samples, outputs).

    Raises
    ------
    InputError
        For an unknown loss, or targets outside the range of the outputs.
    """
    if loss == "squared_error":
        return TrainingObjective(L2Loss(), "identity", True)
    if loss == "poisson":
        objective = TrainingObjective(PoissonLoss(), "exp", True)
    else:
        loss = loss_of(loss, "squared_error", "poisson")
        kinds: dict[type[Loss], str] = {
            CrossEntropy: "softmax",
            KLDivergence: "softmax",
            BinaryCrossEntropy: "logistic",
            PoissonNLL: "exp",
        }
        objective = TrainingObjective(loss, kinds.get(type(loss), "identity"), True)
    if objective.out_activation == "softmax" and targets.shape[1] < 2:
        raise InputError(
            f"loss={type(loss).__name__}(): expected probabilities in two or more columns of y, "
            "got one column; use BinaryCrossEntropy(), or MLPClassifier for classes"
        )
    target_range = objective.loss.target_range
    index = None if target_range is None else first_outside(targets, *target_range)
    if target_range is not None and index is not None:
        raise target_out_of_range(f"y[{index[0]}]", target_range, f"loss={loss!r}", targets[index])
    index = first_bad_sum(targets) if objective.loss.targets_sum_to_one else None
    if index is not None:
        raise InputError(
            f"y[{index[0]}]: expected probabilities that sum to 1 with loss={loss!r}, got "
            f"{targets[index].tolist()!s:.60}; for several labels per sample use "
            "BinaryCrossEntropy()"
        )
    return objective


def loss_of(loss: Any, *scikit_learn: str) -> Loss:
    """Return a loss of the library by name; return a `Loss` unchanged.

    Raises
    ------
    InputError
        For anything else; the message lists the known losses, `scikit_learn`'s included.

    >>> loss_of("mean-squared-error", "squared_error")
    MeanSquaredError(reduction='mean', ignore_nan=False)
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
    """Return a hidden activation by scikit-learn's or the library's name; a layer unchanged.

    Raises
    ------
    InputError
        For anything else; the message lists the known activations.

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

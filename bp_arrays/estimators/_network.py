"""The network of an estimator: its layers, its initial weights, and its predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.activations import Sigmoid
from bp_arrays.devices import Device
from bp_arrays.errors import InputError
from bp_arrays.estimators._objectives import TrainingObjective, activation_layer
from bp_arrays.estimators._samples import HOST, moved_to_host
from bp_arrays.layers import Dropout, Layer, Linear, Sequential
from bp_arrays.losses import EnsembleLoss, Loss
from bp_arrays.model import Entry, Model
from bp_arrays.typing import Array, HostArray

PREDICTED_VALUES = 2**24
"""Input values per pass of a prediction, so that sparse data is made dense in small parts."""


@dataclass(frozen=True)
class Network:
    """A model, the device of the data it was trained on, and its training objective.

    Parameters
    ----------
    model : Model
    input_device : Device
        The device of input and output; the model may compute on another one.
    objective : TrainingObjective
    """

    model: Model
    input_device: Device
    objective: TrainingObjective

    @property
    def is_ensemble(self) -> bool:
        """Whether the outputs are (samples, members, outputs)."""
        return len(self.model.output_shape) == 2

    @property
    def training_loss(self) -> Loss:
        """The loss of the objective, for an ensemble the sum over its members."""
        loss = self.objective.loss
        return EnsembleLoss(loss) if self.is_ensemble else loss

    def moved(self, X: Any) -> Any:
        """Move X to the model's device, unless it is host data, which the model reads itself."""
        if self.input_device in (HOST, self.model.device):
            return X
        return self.model.device.asarray(X)

    def outputs(self, X: Any) -> Array:
        """Return the raw outputs (samples, outputs) for validated X, on the device of X.

        Of an ensemble they are (samples, members, outputs).
        """
        rows = max(1, PREDICTED_VALUES // math.prod(X.shape[1:]))
        y = self.model.predict(self.moved(X), rows)
        if self.input_device in (HOST, self.model.device):
            return y
        return self.input_device.asarray(y)

    def weight_lists(self) -> tuple[list[Array], list[Array]]:
        """Return the weights and the biases, layer by layer, on the device of the data.

        On the model's device they are views of its parameters. Elsewhere they are copies, and
        NumPy copies are read-only: writing to them would not change the model.
        """
        parameters = dict(self.model.parameters)
        device = self.input_device
        if device != self.model.device:
            parameters = {name: device.asarray(array) for name, array in parameters.items()}
            if device == HOST:
                for array in parameters.values():
                    array.flags.writeable = False
        weights = [array for name, array in parameters.items() if name.endswith("weight")]
        return weights, [array for name, array in parameters.items() if name.endswith("bias")]


def hidden_layers(sizes: Sequence[int], activation: Any) -> list[Layer]:
    """Return the activation of each hidden layer.

    Parameters
    ----------
    sizes : sequence of int
    activation : str, Layer, or a sequence of these, one for each hidden layer

    Raises
    ------
    InputError
        For an unknown activation, a layer with parameters, or a sequence of another length.
    """
    is_list = isinstance(activation, (tuple, list))
    activations = list(activation) if is_list else [activation] * len(sizes)
    if len(activations) != len(sizes):
        raise InputError(
            f"activation: expected one, or one for each of the {len(sizes)} hidden layers, "
            f"got {len(activations)}"
        )
    layers = [activation_layer(activation) for activation in activations]
    for size, layer in zip(sizes, layers, strict=True):
        if layer.init((size,)) != ({}, (size,)):
            raise InputError(f"activation: expected a layer without parameters, got {layer!r}")
    return layers


def perceptron(
    sizes: Sequence[int],
    activations: Sequence[Layer],
    outputs: int,
    *,
    dropout: float,
    last_layer: Layer | None,
) -> Sequential:
    """Build the net: for each hidden layer Linear, activation and dropout; then the outputs.

    Parameters
    ----------
    sizes : sequence of int
    activations : sequence of Layer
    outputs : int
    dropout : float
    last_layer : Layer or None
        An output activation as part of the net.
    """
    layers: list[Layer] = []
    for size, activation in zip(sizes, activations, strict=True):
        layers += [Linear(size), activation]
        if dropout > 0.0:
            layers.append(Dropout(dropout))
    layers.append(Linear(outputs))
    return Sequential(*layers, *([] if last_layer is None else [last_layer]))


def first_values(rng: np.random.RandomState, activation: Any) -> Callable[[Entry], HostArray]:
    """Return a function that draws initial weights and biases, uniform after Glorot and Bengio.

    They are drawn in scikit-learn's order and within its bounds, so that the same `random_state`
    starts from the same network: |w| ≤ √(6 / (fan_in + fan_out)), with 2 instead of 6 for
    the logistic activation. The output layer uses the factor of the last hidden activation.
    """
    activations = activation if isinstance(activation, (tuple, list)) else [activation]
    factors = [
        2.0 if isinstance(activation_layer(activation), Sigmoid) else 6.0
        for activation in activations
    ]
    bound = 0.0

    def draw(entry: Entry) -> HostArray:
        nonlocal bound
        if len(entry.shape) == 2:  # the bias that follows uses the bound of its weight
            factor = factors.pop(0) if len(factors) > 1 else (factors or [6.0])[0]
            bound = math.sqrt(factor / sum(entry.shape))
        return rng.uniform(-bound, bound, entry.shape)

    return draw


def set_weights(model: Model, coefs: Sequence[Any], intercepts: Sequence[Any]) -> None:
    """Set the parameters of a model of `perceptron` from scikit-learn's lists of them.

    Raises
    ------
    InputError
        If the lists do not match the layers.
    """
    names = [entry.name for entry in model.layout.trainable]
    weights = [name for name in names if name.endswith("weight")]
    biases = [name for name in names if name.endswith("bias")]
    if not len(weights) == len(coefs) == len(intercepts):
        raise InputError(
            f"coefs_, intercepts_: expected {len(weights)} arrays each, one per layer, got "
            f"{len(coefs)} and {len(intercepts)}; {_FIXED}"
        )
    arrays = map(moved_to_host, [*coefs, *intercepts])
    try:
        model.set_parameters(dict(zip([*weights, *biases], arrays, strict=True)))
    except InputError as error:
        raise InputError(f"coefs_, intercepts_: {error}; {_FIXED}") from None


_FIXED = "hidden_layer_sizes may not change after the first fit"


def not_finite() -> InputError:
    """Return the error for weights that are not finite."""
    return InputError(
        "training ended with weights that are not finite: scale the data, for instance with "
        "StandardScaler, or lower learning_rate_init"
    )

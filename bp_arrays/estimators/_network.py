"""The network of an estimator: its layers, its first weights, and what a fit leaves behind."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.activations import Sigmoid
from bp_arrays.devices import Device
from bp_arrays.errors import InputError
from bp_arrays.estimators._objectives import Objective, activation_layer
from bp_arrays.estimators._samples import HOST, on_host
from bp_arrays.layers import Dropout, Layer, Linear, Sequential
from bp_arrays.model import Entry, Model
from bp_arrays.typing import Array, HostArray

PREDICTED_VALUES = 2**24
"""Input values that pass through at once in predictions, so that sparse data stays small."""


@dataclass(frozen=True)
class Network:
    """A model, the place of the data it was trained on, and what it was trained for.

    Parameters
    ----------
    model : Model
    place : Device
        Where input comes from and output goes to; the model may compute elsewhere.
    objective : Objective
    """

    model: Model
    place: Device
    objective: Objective

    def moved(self, X: Any) -> Any:
        """X where the model can take it: arrays of another device are moved, host data stays."""
        if self.place in (HOST, self.model.device):
            return X
        return self.model.device.asarray(X)

    def outputs(self, X: Any) -> Array:
        """The raw outputs (samples, outputs) for X that has been validated, where X is."""
        y = self.model.predict(self.moved(X), max(1, PREDICTED_VALUES // X.shape[1]))
        return y if self.place in (HOST, self.model.device) else self.place.asarray(y)

    def weight_lists(self) -> tuple[list[Array], list[Array]]:
        """The weights and the biases, layer by layer, where the data is.

        They are views of the model's parameters where these are there too. Where they are
        copies, which nobody would see change, NumPy refuses to change them.
        """
        parameters = self.model.parameters
        if self.place != self.model.device:
            parameters = {name: self.place.asarray(array) for name, array in parameters.items()}
            if self.place == HOST:
                for array in parameters.values():
                    array.flags.writeable = False
        weights = [array for name, array in parameters.items() if name.endswith("weight")]
        return weights, [array for name, array in parameters.items() if name.endswith("bias")]


def hidden_layers(sizes: Sequence[int], activation: Any) -> list[Layer]:
    """The activation of each hidden layer.

    Parameters
    ----------
    sizes : sequence of int
    activation : str, Layer, or a sequence of these, one for each hidden layer

    Raises
    ------
    InputError
        If one is unknown or has parameters, or there is another number of them.
    """
    several = isinstance(activation, (tuple, list))
    given = list(activation) if several else [activation] * len(sizes)
    if len(given) != len(sizes):
        raise InputError(
            f"activation: expected one, or one for each of the {len(sizes)} hidden layers, "
            f"got {len(given)}"
        )
    layers = [activation_layer(each) for each in given]
    for size, layer in zip(sizes, layers, strict=True):
        if layer.init((size,)) != ({}, (size,)):
            raise InputError(f"activation: {layer!r} is no activation but has parameters")
    return layers


def perceptron(
    sizes: Sequence[int],
    activations: Sequence[Layer],
    outputs: int,
    *,
    dropout: float,
    last_layer: Layer | None,
) -> Sequential:
    """Hidden layers of these sizes, each a Linear, its activation, dropout; then the outputs.

    Parameters
    ----------
    sizes : sequence of int
    activations : sequence of Layer
    outputs : int
    dropout : float
    last_layer : Layer or None
        An output activation that is trained with the rest.
    """
    layers: list[Layer] = []
    for size, activation in zip(sizes, activations, strict=True):
        layers += [Linear(size), activation]
        if dropout > 0.0:
            layers.append(Dropout(dropout))
    layers.append(Linear(outputs))
    return Sequential(*layers, *([] if last_layer is None else [last_layer]))


def first_values(rng: np.random.RandomState, activation: Any) -> Callable[[Entry], HostArray]:
    """The initial weights, as the values of a model: uniform after Glorot and Bengio, biases too.

    They are drawn in scikit-learn's order and within its bounds, so that the same `random_state`
    starts from the same network: |w| ≤ √(6 / (fan_in + fan_out)), or √2 in place of √6 for
    the logistic activation. The outputs go by the last hidden activation.
    """
    several = isinstance(activation, (tuple, list))
    factors = [
        2.0 if isinstance(activation_layer(each), Sigmoid) else 6.0
        for each in (activation if several else [activation])
    ]
    bound = 0.0

    def draw(entry: Entry) -> HostArray:
        nonlocal bound
        if len(entry.shape) == 2:  # the bias that follows has the bound of its weight
            factor = factors.pop(0) if len(factors) > 1 else (factors or [6.0])[0]
            bound = math.sqrt(factor / sum(entry.shape))
        return rng.uniform(-bound, bound, entry.shape)

    return draw


def set_weights(model: Model, coefs: Sequence[Any], intercepts: Sequence[Any]) -> None:
    """Give a model of `perceptron` scikit-learn's lists of weights and biases.

    Raises
    ------
    InputError
        If they do not fit the layers.
    """
    names = [entry.name for entry in model.layout.trainable]
    weights = [name for name in names if name.endswith("weight")]
    biases = [name for name in names if name.endswith("bias")]
    if not len(weights) == len(coefs) == len(intercepts):
        raise InputError(
            f"the network has {len(weights)} layers of weights, coefs_ {len(coefs)} and "
            f"intercepts_ {len(intercepts)}: {_FIXED}"
        )
    given = dict(zip([*weights, *biases], map(on_host, [*coefs, *intercepts]), strict=True))
    try:
        model.set_parameters(given)
    except InputError as error:
        raise InputError(f"coefs_ and intercepts_ do not fit: {error}. {_FIXED}") from None


_FIXED = "hidden_layer_sizes may not change once weights are there"


def not_finite() -> InputError:
    """The error for weights that grew beyond all bounds."""
    return InputError(
        "training ended with weights that are not finite: scale the data, for instance with "
        "StandardScaler, or lower learning_rate_init"
    )

"""The network of an estimator: layers, first weights, parameters as scikit-learn's lists."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bp_arrays.devices import Device
from bp_arrays.devices.device import owner
from bp_arrays.errors import InputError
from bp_arrays.estimators.objectives import activation_layer
from bp_arrays.layers import Dropout, Layer, Linear, Sequential
from bp_arrays.model import Model
from bp_arrays.model.layout import Entry
from bp_arrays.typing import Array

HostArray = np.ndarray[Any, Any]


def perceptron(
    sizes: Sequence[int], activation: Any, dropout: float, last_layer: Layer | None
) -> Sequential:
    """Linear layers of these sizes, activation and dropout after each but the last.

    Parameters
    ----------
    sizes : sequence of int
        Those of the hidden layers, then the number of outputs.
    activation : str, Layer, or a sequence of these, one for each hidden layer
    dropout : float
    last_layer : Layer or None
        An output activation that is trained with the rest.

    Raises
    ------
    InputError
        If the activations are unknown or there is another number of them.
    """
    hidden = len(sizes) - 1
    several = isinstance(activation, (tuple, list))
    activations = list(activation) if several else [activation] * hidden
    if len(activations) != hidden:
        raise InputError(
            f"activation: expected one, or one for each of the {hidden} hidden layers, "
            f"got {len(activations)}"
        )
    layers: list[Layer] = []
    for size, each in zip(sizes, activations, strict=False):
        layer = activation_layer(each)
        if layer.init((size,)) != ({}, (size,)):
            raise InputError(f"activation: {layer!r} is no activation but has parameters")
        layers += [Linear(size), layer]
        if dropout > 0.0:
            layers.append(Dropout(dropout))
    layers.append(Linear(sizes[-1]))
    return Sequential(*layers, *([] if last_layer is None else [last_layer]))


def first_values(rng: np.random.RandomState, activation: Any) -> Any:
    """The initial weights, as the values of a model: uniform after Glorot and Bengio, biases too.

    They are drawn in scikit-learn's order and within its bounds, so that the same `random_state`
    starts from the same network: |w| ≤ √(6 / (fan_in + fan_out)), or √2 in place of √6 for
    the logistic activation.
    """
    factor = 2.0 if isinstance(activation, str) and activation == "logistic" else 6.0
    bound = 0.0

    def draw(entry: Entry) -> HostArray:
        nonlocal bound
        if len(entry.shape) == 2:  # the bias that follows has the bound of its weight
            bound = math.sqrt(factor / sum(entry.shape))
        return rng.uniform(-bound, bound, entry.shape)

    return draw


def model_with(
    net: Sequential,
    coefs: Sequence[Any],
    intercepts: Sequence[Any],
    device: Device,
    dtype: str,
) -> Model:
    """A model of this net that holds scikit-learn's lists of weights and biases.

    Raises
    ------
    InputError
        If they do not fit the layers.
    """
    keys = [str(k) for k, layer in enumerate(net) if isinstance(layer, Linear)]
    if not len(keys) == len(coefs) == len(intercepts):
        raise InputError(
            f"the network has {len(keys)} layers of weights, coefs_ {len(coefs)} and intercepts_ "
            f"{len(intercepts)}: hidden_layer_sizes may not change once weights are there"
        )
    given = {f"{key}.weight": coef for key, coef in zip(keys, coefs, strict=True)}
    given |= {f"{key}.bias": bias for key, bias in zip(keys, intercepts, strict=True)}

    def value(entry: Entry) -> HostArray:
        array = given[entry.name]
        place = owner(array)
        host = np.asarray(array, dtype=np.float64) if place is None else place.to_numpy(array)
        if host.shape != entry.shape:
            raise InputError(
                f"layer {entry.name} has shape {entry.shape} but coefs_ and intercepts_ hold "
                f"{host.shape} for it: hidden_layer_sizes may not change once weights are there"
            )
        return host

    input_size = np.shape(coefs[0])[0]
    return Model.from_values(net, (input_size,), value, device=device, dtype=dtype)


def weight_lists(model: Model, place: Device) -> tuple[list[Array], list[Array]]:
    """A model's weights and its biases, layer by layer, on a device; views where they are there."""
    parameters = model.parameters
    if place != model.device:
        parameters = {name: place.asarray(array) for name, array in parameters.items()}
    names = list(parameters)
    weights = [parameters[name] for name in names if name.endswith("weight")]
    return weights, [parameters[name] for name in names if name.endswith("bias")]

"""Normalization, number by number, in plain Python floats."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bp_arrays.testing._case import PARAMETER
from bp_arrays.testing.witnesses._activations import Row
from bp_arrays.testing.witnesses._witness import HostArrays

EPSILON = 1e-5
"""The default of every layer of the room."""


def normalized(values: Row) -> Row:
    """(x − m) / √(v + ε), with the variance as a second sum over the differences."""
    m = math.fsum(values) / len(values)
    v = math.fsum((x - m) ** 2 for x in values) / len(values)
    return [(x - m) / math.sqrt(v + EPSILON) for x in values]


def by_mean_square(values: Row) -> Row:
    square = math.fsum(x * x for x in values) / len(values)
    return [x / math.sqrt(square + EPSILON) for x in values]


def scaled(row: Row, inputs: HostArrays) -> Row:
    """g_j n_j + b_j, with those of the two that the layer has."""
    g, b = (inputs.get(PARAMETER + name) for name in ("scale", "bias"))
    return [
        n * (1.0 if g is None else float(g[j])) + (0.0 if b is None else float(b[j]))
        for j, n in enumerate(row)
    ]


OF_POSITIONS: dict[str, Callable[[Row], Row]] = {
    "LayerNorm": normalized,
    "RMSNorm": by_mean_square,
}
"""Layers that normalize the features of each position by themselves."""

GROUPS = 2


def normalization_values(
    name: str, inputs: HostArrays, *, in_prediction: bool = False
) -> HostArrays:
    """Return the output of a layer in training, or of BatchNorm in prediction."""
    x = inputs["x"]
    n = np.empty(x.shape)
    channels = x.shape[-1]
    if name in OF_POSITIONS:
        for at in np.ndindex(x.shape[:-1]):
            n[at] = OF_POSITIONS[name](x[at].tolist())
    elif in_prediction:
        m, v = (inputs[PARAMETER + state].tolist() for state in ("mean", "variance"))
        for index in np.ndindex(x.shape):
            j = index[-1]
            n[index] = (float(x[index]) - m[j]) / math.sqrt(v[j] + EPSILON)
    elif name == "BatchNorm":
        for j in range(channels):
            n[..., j] = np.reshape(normalized(x[..., j].ravel().tolist()), x.shape[:-1])
    else:
        size = channels // min(GROUPS, channels)
        for i in range(x.shape[0]):
            for first in range(0, channels, size):
                group = x[i, ..., first : first + size]
                values = normalized(group.ravel().tolist())
                n[i, ..., first : first + size] = np.reshape(values, group.shape)
    y = [scaled(n[at].tolist(), inputs) for at in np.ndindex(x.shape[:-1])]
    return {"y": np.reshape(y, x.shape)}


def running_values(inputs: HostArrays, momentum: float) -> HostArrays:
    """Return the running mean and variance after a step of BatchNorm: the variance by N − 1."""
    x = inputs["x"]
    old_m, old_v = (inputs[PARAMETER + name].tolist() for name in ("mean", "variance"))
    mean, variance = [], []
    for j in range(x.shape[-1]):
        values = x[..., j].ravel().tolist()
        m = math.fsum(values) / len(values)
        v = math.fsum((value - m) ** 2 for value in values) / (len(values) - 1)
        mean.append((1.0 - momentum) * old_m[j] + momentum * m)
        variance.append((1.0 - momentum) * old_v[j] + momentum * v)
    return {"mean": np.array(mean), "variance": np.array(variance)}

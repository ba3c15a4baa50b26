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


def normalization_values(name: str, inputs: HostArrays) -> HostArrays:
    """Return the output of a layer in training."""
    x = inputs["x"]
    rows = np.reshape(x, (-1, x.shape[-1])).tolist()
    outputs = [scaled(OF_POSITIONS[name](row), inputs) for row in rows]
    return {"y": np.reshape(outputs, x.shape)}

"""Layers, sample by sample and unit by unit, in plain Python floats."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bp_arrays.testing._case import PARAMETER
from bp_arrays.testing.witnesses._activations import Row, sigmoid
from bp_arrays.testing.witnesses._random import keep_words
from bp_arrays.testing.witnesses._witness import HostArrays
from bp_arrays.typing import HostArray

OfRow = Callable[[Row, HostArrays], Row]
"""The output of a layer for one row, given the parameters."""


def linear(row: Row, inputs: HostArrays, path: str = "") -> Row:
    """y_j = Σ_i x_i w_ij + b_j."""
    w = inputs[f"{PARAMETER}{path}weight"].tolist()
    b = inputs.get(f"{PARAMETER}{path}bias")
    return [
        math.fsum(row[i] * w[i][j] for i in range(len(row))) + (0.0 if b is None else float(b[j]))
        for j in range(len(w[0]))
    ]


def standardize(row: Row, inputs: HostArrays) -> Row:
    mean, scale = inputs[PARAMETER + "mean"].tolist(), inputs[PARAMETER + "scale"].tolist()
    return [(row[i] - mean[i]) / scale[i] for i in range(len(row))]


def two_layers(row: Row, inputs: HostArrays) -> Row:
    h = [math.tanh(a) for a in linear(row, inputs, "0.")]
    return linear(h, inputs, "2.")


def net_of_the_notes(row: Row, inputs: HostArrays) -> Row:
    h = [sigmoid(a) for a in linear(row, inputs, "0.")]
    return [sigmoid(a) for a in linear(h, inputs, "2.")]


def residual_of_two(row: Row, inputs: HostArrays) -> Row:
    return [x + f for x, f in zip(row, two_layers(row, inputs), strict=True)]


def residual_of_one(row: Row, inputs: HostArrays) -> Row:
    return [x + f for x, f in zip(row, linear(row, inputs), strict=True)]


OF_ROWS: dict[str, OfRow] = {
    "Linear": linear,
    "Linear, no bias": linear,
    "Sequential": two_layers,
    "Sequential, notes' net": net_of_the_notes,
    "Residual": residual_of_two,
    "Residual, a single layer": residual_of_one,
    "Standardize": standardize,
}
"""By the name of the component, with the settings of its cases."""

DROPPED = 0.3


def layer_values(name: str, inputs: HostArrays) -> HostArrays:
    """Return the output of a layer; for Dropout also the error behind it."""
    x = inputs["x"]
    if name == "Flatten":
        return {"y": np.array([sample.ravel().tolist() for sample in x])}
    if name == "Reshape":  # to (3, 2, 2)
        samples = [iter(sample.ravel().tolist()) for sample in x]
        return {
            "y": np.array(
                [[[[next(s) for _ in "ab"] for _ in "ab"] for _ in "abc"] for s in samples]
            )
        }
    if name == "Dropout":
        return {"y": _dropped(x), "dx": _dropped(inputs["delta"])}
    rows = np.reshape(x, (-1, x.shape[-1])).tolist()
    return {"y": np.reshape([OF_ROWS[name](row, inputs) for row in rows], (*x.shape[:-1], -1))}


def _dropped(values: HostArray) -> HostArray:
    """Return 0 where the first mask of step 0 has no bit, else the value over its probability."""
    kept, probability = keep_words(seed=0, step=0, draw=0, count=values.size, rate=DROPPED)
    flat = values.ravel().tolist()
    chosen = [v / probability if keep else 0.0 for v, keep in zip(flat, kept, strict=True)]
    return np.reshape(chosen, values.shape)

"""A training step of the notes' net: the derivation of the notes, index by index."""

from __future__ import annotations

import numpy as np

from bp_arrays.testing._case import GRADIENT, PARAMETER
from bp_arrays.testing.witnesses._activations import sigmoid
from bp_arrays.testing.witnesses._layers import linear
from bp_arrays.testing.witnesses._witness import HostArrays


def step_of_the_notes(inputs: HostArrays) -> HostArrays:
    """Return L = 1/N Σ_n ½ Σ_j (y_j − t_j)² and its derivative by every weight.

    δ at the output is (y_j − t_j) y_j (1 − y_j) / N, δ of a hidden unit the sum of the δ above it
    weighted by the connections, times h_i (1 − h_i); ∂L/∂w_ij = Σ_n h_i δ_j, ∂L/∂b_j = Σ_n δ_j.
    """
    samples, targets = inputs["x"].tolist(), inputs["t"].tolist()
    gradients = {
        GRADIENT + name.removeprefix(PARAMETER): np.zeros(array.shape)
        for name, array in inputs.items()
        if name.startswith(PARAMETER)
    }
    value, n, w = 0.0, len(samples), inputs[PARAMETER + "2.weight"]
    for x, t in zip(samples, targets, strict=True):
        h = [sigmoid(a) for a in linear(x, inputs, "0.")]
        y = [sigmoid(a) for a in linear(h, inputs, "2.")]
        value += sum(0.5 * (y[j] - t[j]) ** 2 for j in range(len(y))) / n
        above = [(y[j] - t[j]) * y[j] * (1.0 - y[j]) / n for j in range(len(y))]
        delta = [
            sum(w[i, j] * above[j] for j in range(len(y))) * h[i] * (1.0 - h[i])
            for i in range(len(h))
        ]
        for path, signal, error in (("0.", x, delta), ("2.", h, above)):
            for j in range(len(error)):
                gradients[f"{GRADIENT}{path}bias"][j] += error[j]
                for i in range(len(signal)):
                    gradients[f"{GRADIENT}{path}weight"][i, j] += signal[i] * error[j]
    return {"value": np.array(value)} | gradients

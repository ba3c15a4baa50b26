"""A step of the notes' net, written out by index; a run in mixed precision, with each rounding."""

from __future__ import annotations

import numpy as np

from bp_arrays.testing._case import GRADIENT, PARAMETER
from bp_arrays.testing.witnesses._activations import sigmoid
from bp_arrays.testing.witnesses._layers import linear
from bp_arrays.testing.witnesses._witness import HostArrays
from bp_arrays.typing import HostArray


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


def rounded_to(values: HostArray, dtype: str) -> HostArray:
    """Return the nearest numbers of float16 or bfloat16, in float64; half-way cases to even."""
    if dtype == "float16":
        with np.errstate(over="ignore"):  # to infinity, which is meant
            return values.astype(np.float16).astype(np.float64)
    bits = np.asarray(values, np.float32).view(np.uint32)
    bits = bits + 0x7FFF + ((bits >> 16) & 1)
    return (bits & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(np.float64)


def mixed_training(
    inputs: HostArrays, dtype: str, *, epochs: int, batch_size: int, rate: float, scale: float
) -> HostArrays:
    """Train Linear, Tanh, Linear by the squared error in mixed precision, every rounding written.

    What a layer computes is rounded to `dtype`, the outputs, the loss and the update are not. δ is
    multiplied by the scale s before it is rounded, and g divided by it. If g is not finite, the
    step is skipped and s halved.
    """

    def r(values: HostArray) -> HostArray:
        return rounded_to(values, dtype)

    theta = {
        name.removeprefix(PARAMETER): array.copy()
        for name, array in inputs.items()
        if name.startswith(PARAMETER)
    }
    losses, skipped = [], []
    for _ in range(epochs):
        total, bad = 0.0, 0
        for first in range(0, len(inputs["x"]), batch_size):
            x, t = (inputs[name][first : first + batch_size] for name in ("x", "t"))
            w1, b1, w2, b2 = (
                r(theta[f"{k}.{name}"]) for k in (0, 2) for name in ("weight", "bias")
            )
            x = r(x)
            h = r(np.tanh(r(r(x @ w1) + b1)))
            y = r(r(h @ w2) + b2)
            total += 0.5 * np.sum((y - t) ** 2)
            delta = r(scale * (y - t) / len(x))
            below = r(r(delta @ w2.T) * r(r(1.0 - h) * r(1.0 + h)))
            g = {
                "0.weight": r(x.T @ below),
                "0.bias": r(below.sum(axis=0)),
                "2.weight": r(h.T @ delta),
                "2.bias": r(delta.sum(axis=0)),
            }
            if all(np.isfinite(each).all() for each in g.values()):
                theta = {name: theta[name] - rate * g[name] / scale for name in theta}
            else:
                bad, scale = bad + 1, scale / 2.0
        losses.append(total / len(inputs["x"]))
        skipped.append(bad)
    changes = {
        f"change of {name}": array - inputs[PARAMETER + name] for name, array in theta.items()
    }
    return {"losses": np.array(losses), "skipped": np.array(skipped, np.int32)} | changes

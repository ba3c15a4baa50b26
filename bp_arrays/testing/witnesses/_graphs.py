"""Layers of several inputs and outputs, number by number, in plain Python floats."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

from bp_arrays.testing._case import GRADIENT, PARAMETER
from bp_arrays.testing.witnesses._loss_terms import values_of_targets
from bp_arrays.testing.witnesses._losses import loss_values
from bp_arrays.testing.witnesses._witness import HostArrays
from bp_arrays.typing import HostArray


def two_inputs(inputs: HostArrays) -> HostArrays:
    """y_left = x_left w + b, y_right = tanh x_right; "rest" passes through."""
    w, b = inputs[f"{PARAMETER}left.weight"], inputs[f"{PARAMETER}left.bias"]
    left, right, rest = (inputs[f"x.{name}"] for name in ("left", "right", "rest"))
    delta = inputs["delta.left"]
    return {
        "y.left": _linear(left, w, b),
        "y.right": _each(math.tanh, right),
        "y.rest": rest,
        "dx.left": _linear(delta, w.T, np.zeros(len(w))),
        "dx.right": _each(lambda a, e: e * (1.0 - math.tanh(a) ** 2), right, inputs["delta.right"]),
        "dx.rest": inputs["delta.rest"],
        f"{GRADIENT}left.bias": np.array([math.fsum(column) for column in delta.T.tolist()]),
    }


def fan_out(inputs: HostArrays) -> HostArrays:
    """y_0 = x w + b, y_1 = x; the errors of x are added."""
    w, b, x = inputs[f"{PARAMETER}0.weight"], inputs[f"{PARAMETER}0.bias"], inputs["x"]
    first = _linear(inputs["delta.0"], w.T, np.zeros(len(w)))
    return {
        "y.0": _linear(x, w, b),
        "y.1": x,
        "dx": _each(lambda one, other: one + other, first, inputs["delta.1"]),
    }


def unused_output(inputs: HostArrays) -> HostArrays:
    """y_0 = x w + b; the error of y_1 = x v + c is zero."""
    w, b, x = inputs[f"{PARAMETER}0.weight"], inputs[f"{PARAMETER}0.bias"], inputs["x"]
    v, c = inputs[f"{PARAMETER}1.weight"], inputs[f"{PARAMETER}1.bias"]
    return {
        "y.0": _linear(x, w, b),
        "y.1": _linear(x, v, c),
        "dx": _linear(inputs["delta.0"], w.T, np.zeros(len(w))),
        f"{GRADIENT}1.weight": np.zeros(v.shape),
        f"{GRADIENT}1.bias": np.zeros(c.shape),
    }


def selected(key: str, inputs: HostArrays) -> HostArrays:
    """y = x_k; the errors of the others are zero."""
    values = {"y": inputs[f"x.{key}"]}
    for name, array in _inputs(inputs).items():
        values[f"d{name}"] = inputs["delta"] if name == f"x.{key}" else np.zeros(array.shape)
    return values


def concatenated(axis: int, inputs: HostArrays) -> HostArrays:
    """y[..., offset_k + i, ...] = x_k[..., i, ...], and the same of the errors."""
    parts, delta = _inputs(inputs), inputs["delta"]
    y, values, offset = np.full(delta.shape, np.nan), {}, 0
    for name, part in parts.items():
        dx = np.empty(part.shape)
        for index in np.ndindex(part.shape):
            target = list(index)
            target[axis] += offset
            y[tuple(target)] = part[index]
            dx[index] = delta[tuple(target)]
        values[f"d{name}"] = dx
        offset += part.shape[axis]
    return values | {"y": y}


def added(inputs: HostArrays) -> HostArrays:
    """y = Σ_k x_k."""
    parts = _inputs(inputs)
    y = _each(lambda *numbers: math.fsum(numbers), *parts.values())
    return {"y": y} | {f"d{name}": inputs["delta"] for name in parts}


def multiplied(inputs: HostArrays) -> HostArrays:
    """y = Π_k x_k, dx_k = δ Π_{j≠k} x_j."""
    parts = _inputs(inputs)
    values = {"y": _each(lambda *numbers: math.prod(numbers), *parts.values())}
    for name in parts:
        others = [part for other, part in parts.items() if other != name]
        values[f"d{name}"] = _each(
            lambda e, *numbers: e * math.prod(numbers), inputs["delta"], *others
        )
    return values


def members(inputs: HostArrays) -> HostArrays:
    """y_m = tanh(x w_m + b_m) of each member; the errors of x are added over the members."""
    w, b, x = inputs[f"{PARAMETER}0.weight"], inputs[f"{PARAMETER}0.bias"], inputs["x"]
    delta, numbers = inputs["delta"], range(len(inputs[f"{PARAMETER}0.weight"]))
    y = [_each(math.tanh, _linear(x, w[m], b[m])) for m in numbers]
    errors = [_each(lambda h, e: e * (1.0 - h * h), y[m], delta[:, m]) for m in numbers]
    by_x = [_linear(errors[m], w[m].T, np.zeros(x.shape[1])) for m in numbers]
    return {
        "y": np.stack(y, axis=1),
        "dx": _each(lambda *e: math.fsum(e), *by_x),
        f"{GRADIENT}0.weight": np.stack(
            [_linear(x.T, errors[m], np.zeros(w.shape[2])) for m in numbers]
        ),
        f"{GRADIENT}0.bias": np.array([[math.fsum(c) for c in e.T.tolist()] for e in errors]),
    }


def members_one_by_one(inputs: HostArrays) -> HostArrays:
    """y_m = tanh(x + x w_m + b_m) u_m + c_m of each member, position by position."""
    w, b = inputs[f"{PARAMETER}0.weight"], inputs[f"{PARAMETER}0.bias"]
    u, c = inputs[f"{PARAMETER}2.weight"], inputs[f"{PARAMETER}2.bias"]
    x, batch, y = inputs["x"], range(len(inputs["x"])), []
    for m in range(len(w)):
        h = [
            _each(lambda *a: math.tanh(math.fsum(a)), x[n], _linear(x[n], w[m], b[m]))
            for n in batch
        ]
        y.append(np.stack([_linear(h[n], u[m], c[m]) for n in batch]))
    return {"y": np.stack(y, axis=1)}


def loss_of_members(reduction: str, inputs: HostArrays) -> HostArrays:
    """The sum of the mean squared errors of the members, each with weights of its own if any."""
    y, values = inputs["y"], []
    own = "weight" in inputs and inputs["weight"].ndim == 2
    for m in range(y.shape[1]):
        arrays = inputs | {"y": y[:, m]} | ({"weight": inputs["weight"][:, m]} if own else {})
        summed = "sum" if own else reduction
        values.append(values_of_targets("MeanSquaredError", summed, arrays))
    total = math.fsum(float(v["value"]) for v in values)
    if own and reduction == "mean":
        total /= math.fsum(inputs["weight"].ravel().tolist()) / y.shape[1]
    return {"value": np.asarray(total)}


def combined_loss(reduction: str, factors: dict[str, float], inputs: HostArrays) -> HostArrays:
    """L = Σ_k λ_k L_k, of cross-entropy on "kind" and squares on "size"."""
    values = []
    for output, name in (("kind", "CrossEntropy"), ("size", "L2Loss")):
        arrays = {"y": inputs[f"y.{output}"], "t": inputs[f"t.{output}"]}
        if "weight" in inputs:
            arrays["weight"] = inputs["weight"]
        value = loss_values(name, reduction, arrays)["value"]
        values.append(factors[output] * float(value))
    return {"value": np.array(math.fsum(values)), "dy.rest": np.zeros(inputs["y.rest"].shape)}


def _inputs(inputs: HostArrays) -> HostArrays:
    """Return the arrays of x by name, in order."""
    return {name: array for name, array in inputs.items() if name.startswith("x.")}


def _linear(x: HostArray, w: HostArray, b: HostArray) -> HostArray:
    """y_nj = Σ_i x_ni w_ij + b_j."""
    y = np.empty((len(x), w.shape[1]))
    for n, j in itertools.product(range(len(x)), range(w.shape[1])):
        products = [float(x[n, i]) * float(w[i, j]) for i in range(len(w))]
        y[n, j] = math.fsum(products) + float(b[j])
    return y


def _each(function: Callable[..., float], *arrays: HostArray) -> HostArray:
    """Apply a function of floats to each number of arrays of one shape."""
    values = [
        function(*numbers) for numbers in zip(*(a.ravel().tolist() for a in arrays), strict=True)
    ]
    return np.array(values).reshape(arrays[0].shape)

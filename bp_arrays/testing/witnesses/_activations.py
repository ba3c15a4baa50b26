"""Activations as functions of one number, or of one row of numbers, in plain Python floats."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bp_arrays.testing._case import PARAMETER
from bp_arrays.testing.witnesses._witness import HostArrays
from bp_arrays.typing import HostArray

Row = list[float]


def exp(a: float) -> float:
    """Return eᵃ; infinity where it is larger than any float."""
    try:
        return math.exp(a)
    except OverflowError:
        return math.inf


def sigmoid(a: float) -> float:
    return 1.0 / (1.0 + exp(-a))


def elu(a: float, alpha: float) -> float:
    return a if a > 0.0 else alpha * math.expm1(a)


def selu(a: float) -> float:
    """The constants to 20 digits: the fixed point of mean 0 and variance 1 of the paper."""
    return 1.0507009873554804934 * elu(a, 1.6732632423543772848)


def gelu(a: float) -> float:
    """a Φ(a), with the normal distribution Φ(a) = ½ erfc(−a/√2)."""
    return a * 0.5 * math.erfc(-a / math.sqrt(2.0))


def gelu_by_tanh(a: float) -> float:
    return 0.5 * a * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (a + 0.044715 * a**3)))


def softplus(a: float) -> float:
    """log(1 + eᵃ); for positive a as a + log(1 + e⁻ᵃ), which is the same number."""
    return max(a, 0.0) + math.log1p(math.exp(-abs(a)))


def mish(a: float) -> float:
    return a * math.tanh(softplus(a))


def hard_sigmoid(a: float) -> float:
    return min(max(a / 6.0 + 0.5, 0.0), 1.0)


def glu(row: Row) -> Row:
    """u_j σ(v_j), where u is the first half of the row and v the second."""
    n = len(row) // 2
    return [row[j] * sigmoid(row[n + j]) for j in range(n)]


def swiglu(row: Row) -> Row:
    """v_j σ(v_j) u_j, where v is the first half of the row and u the second."""
    n = len(row) // 2
    return [row[j] * sigmoid(row[j]) * row[n + j] for j in range(n)]


def prelu_values(inputs: HostArrays) -> HostArrays:
    """a for a > 0, else s_j a, or s a where there is one slope for all."""
    a, s = inputs["x"], inputs[PARAMETER + "slope"].tolist()
    y = np.empty(a.shape)
    for index in np.ndindex(a.shape):
        value = float(a[index])
        y[index] = value if value > 0.0 else s[index[-1] if len(s) > 1 else 0] * value
    return {"y": y}


def log_softmax(row: Row) -> Row:
    """a_j − log Σ_k eᵃᵏ, after a shift of all a by their maximum, which changes nothing."""
    top = max(row)
    log_sum = math.log(math.fsum(math.exp(a - top) for a in row))
    return [a - top - log_sum for a in row]


def softmax(row: Row) -> Row:
    return [math.exp(log_p) for log_p in log_softmax(row)]


OF_NUMBERS: dict[str, Callable[[float], float]] = {
    "Identity": lambda a: a,
    "Sigmoid": sigmoid,
    "Tanh": math.tanh,
    "ReLU": lambda a: max(a, 0.0),
    "LeakyReLU": lambda a: a if a > 0.0 else 0.1 * a,
    "ELU": lambda a: elu(a, 1.3),
    "SELU": selu,
    "GELU": gelu_by_tanh,
    "GELU, exact": gelu,
    "SiLU": lambda a: a * sigmoid(a),
    "Softplus": softplus,
    "Mish": mish,
    "Hardsigmoid": hard_sigmoid,
    "Hardswish": lambda a: a * hard_sigmoid(a),
}
"""By the name of the component, with the settings of its cases."""

OF_ROWS: dict[str, Callable[[Row], Row]] = {
    "Softmax": softmax,
    "LogSoftmax": log_softmax,
    "GLU": glu,
    "SwiGLU": swiglu,
}


def each(function: Callable[[float], float], a: HostArray) -> HostArray:
    """Apply a function of one number to every element."""
    return np.reshape([function(float(value)) for value in a.flat], a.shape)


def each_row(function: Callable[[Row], Row], a: HostArray) -> HostArray:
    """Apply a function of a row to every row, along the last axis."""
    rows = np.reshape(a, (-1, a.shape[-1])).tolist()
    return np.reshape([function(row) for row in rows], (*a.shape[:-1], -1))


def activation_values(name: str, inputs: HostArrays) -> HostArrays:
    """Return the output of an activation."""
    if name in OF_NUMBERS:
        return {"y": each(OF_NUMBERS[name], inputs["x"])}
    return {"y": each_row(OF_ROWS[name], inputs["x"])}


def erfc_values(inputs: HostArrays) -> HostArrays:
    return {"y": each(math.erfc, inputs["x"])}

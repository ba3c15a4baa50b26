"""Sigmoid and SiLU made of straight lines: Hardsigmoid and Hardswish."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.layers import Context, Layer
from bp_arrays.typing import Array, Backward, Namespace, ParameterTree


@dataclass(frozen=True)
class Hardsigmoid(Layer):
    """h = a/6 + ½, cut at 0 and 1; h' = 1/6 for −3 < a < 3, else 0, also at the kinks.

    The slope is that of PyTorch and Keras 3; ONNX's HardSigmoid has 0.2 by default. NaN stays NaN.

    Source: Courbariaux, Bengio and David, "BinaryConnect: Training Deep Neural Networks with binary
    weights during propagations", 2015, there with the slope ½.
    """

    def forward(self, params: ParameterTree, a: Array, ctx: Context) -> tuple[Array, Backward]:
        xp = ctx.xp

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            return xp.where(xp.abs(a) < 3.0, delta / 6.0, 0.0), {}

        return _gate(a, xp), backward


@dataclass(frozen=True)
class Hardswish(Layer):
    """h = a g(a) with the hard sigmoid g; h' = 0 for a ≤ −3, 1 for a ≥ 3, else a/3 + ½.

    NaN stays NaN. At the kink −3 some versions of PyTorch return a slope of −½.

    Source: Howard and others, "Searching for MobileNetV3", 2019, equation (2).
    """

    def forward(self, params: ParameterTree, a: Array, ctx: Context) -> tuple[Array, Backward]:
        xp = ctx.xp

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            # where, not a product: 0 · inf would be NaN
            left = xp.where(a > -3.0, delta * (a / 3.0 + 0.5), 0.0)
            return xp.where(a < 3.0, left, delta), {}

        return a * _gate(a, xp), backward


def _gate(a: Array, xp: Namespace) -> Array:
    return xp.minimum(xp.maximum(a / 6.0 + 0.5, 0.0), 1.0)

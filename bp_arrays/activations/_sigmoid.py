"""Sigmoid activations: the logistic function, h = σ(a), and h = tanh a."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.kernels import logistic
from bp_arrays.layers import Context, Layer
from bp_arrays.typing import Array, Backward, ParameterTree


@dataclass(frozen=True)
class Sigmoid(Layer):
    """The logistic function: h = 1 / (1 + e⁻ᵃ), h' = h (1 − h).

    Examples
    --------
    >>> import bp_arrays as bp
    >>> bp.Model(bp.Sigmoid(), 2, device="cpu").predict([[0.0, -1000.0]]).tolist()
    [[0.5, 0.0]]
    """

    def forward(self, params: ParameterTree, a: Array, ctx: Context) -> tuple[Array, Backward]:
        h = logistic(a, xp=ctx.xp)

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            return delta * (h * (1.0 - h)), {}

        return h, backward


@dataclass(frozen=True)
class Tanh(Layer):
    """The hyperbolic tangent: h = tanh a, h' = 1 − h² = (1 − h)(1 + h)."""

    def forward(self, params: ParameterTree, a: Array, ctx: Context) -> tuple[Array, Backward]:
        h = ctx.xp.tanh(a)

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            return delta * ((1.0 - h) * (1.0 + h)), {}

        return h, backward

"""Softplus, the smooth rectifier: h = log(1 + eᵃ)."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.kernels import logistic
from bp_arrays.layers import Context, Layer
from bp_arrays.typing import Array, Backward, ParameterTree


@dataclass(frozen=True)
class Softplus(Layer):
    """h = log(1 + eᵃ), h' = σ(a).

    Source: Dugas, Bengio, Bélisle, Nadeau and Garcia, "Incorporating Second-Order Functional
    Knowledge for Better Option Pricing", 2001.
    """

    def forward(self, params: ParameterTree, a: Array, ctx: Context) -> tuple[Array, Backward]:
        xp = ctx.xp

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            return delta * logistic(a, xp=xp), {}

        # = log(1 + eᵃ), but nothing overflows and the negative tail is not lost
        return xp.maximum(a, 0.0) + xp.log1p(xp.exp(-xp.abs(a))), backward

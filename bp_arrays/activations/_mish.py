"""Mish, an activation gated by the tanh of the softplus: h = a tanh(log(1 + eᵃ))."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.layers import Context, Layer
from bp_arrays.typing import Array, Backward, ParameterTree


@dataclass(frozen=True)
class Mish(Layer):
    """h = a τ with the gate τ = tanh(log(1 + eᵃ)); h' = τ + a (1 − τ²) σ(a).

    Source: Misra, "Mish: A Self Regularized Non-Monotonic Activation Function", 2020.
    """

    def forward(self, params: ParameterTree, a: Array, ctx: Context) -> tuple[Array, Backward]:
        xp = ctx.xp
        # τ = ((1 + eᵃ)² − 1) / ((1 + eᵃ)² + 1), for a >= 0 with both parts times e⁻²ᵃ: from
        # e = e^−|a| nothing overflows, and a sum of positive terms loses no digits
        e = xp.exp(-xp.abs(a))
        positive = a >= 0.0
        p = xp.where(positive, 1.0 + 2.0 * e, e * (2.0 + e))
        q = xp.where(positive, e * e, 1.0)
        total = p + 2.0 * q
        gate = p / total

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            # (1 − τ²) σ(a), with 1 − τ² = 4 q (1 + e)² / (p + 2q)²
            s = xp.where(positive, 1.0, e)  # σ(a) (1 + e)
            dgate = 4.0 * (q / total) * ((1.0 + e) * s / total)
            return delta * (gate + a * dgate), {}

        return a * gate, backward

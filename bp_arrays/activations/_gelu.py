"""Activations gated by a probability: GELU, h = a Φ(a), and SiLU, h = a σ(a)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bp_arrays.checks import check_bool
from bp_arrays.kernels import erfc, logistic
from bp_arrays.layers import Context, Layer
from bp_arrays.typing import Array, Backward, Namespace, ParameterTree

SATURATED = 40.0
"""|a| from which Φ is 0 or 1 in every dtype; of a clipped to it, no power overflows."""


@dataclass(frozen=True)
class GELU(Layer):
    """h = a Φ(a), with Φ the distribution function of the standard normal, φ its density.

    Exact: h' = Φ(a) + a φ(a). By tanh: Φ(a) ≈ ½ (1 + tanh z) = σ(2z) with
    z = √(2/π) (a + 0.044715 a³); the form with σ does not cancel for negative a.

    Parameters
    ----------
    exact : bool, default False
        True for Φ itself, False for the approximation by tanh.

    Raises
    ------
    InputError
        If `exact` is not a bool.

    Notes
    -----
    Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016.
    """

    exact: bool = False

    def __post_init__(self) -> None:
        check_bool(self, "exact")

    def forward(self, params: ParameterTree, a: Array, ctx: Context) -> tuple[Array, Backward]:
        return _exact(a, ctx.xp) if self.exact else _by_tanh(a, ctx.xp)


def _exact(a: Array, xp: Namespace) -> tuple[Array, Backward]:
    clipped = _clipped(a, xp)
    cdf = 0.5 * erfc(clipped * -math.sqrt(0.5), xp=xp)

    def backward(delta: Array) -> tuple[Array, ParameterTree]:
        density = xp.exp(-0.5 * clipped * clipped) / math.sqrt(2.0 * math.pi)
        return delta * (cdf + clipped * density), {}

    return a * cdf, backward


def _by_tanh(a: Array, xp: Namespace) -> tuple[Array, Backward]:
    c = math.sqrt(2.0 / math.pi)
    clipped = _clipped(a, xp)
    gate = logistic(2.0 * c * (clipped + 0.044715 * (clipped * clipped * clipped)), xp=xp)

    def backward(delta: Array) -> tuple[Array, ParameterTree]:
        dz = c * (1.0 + 3.0 * 0.044715 * (clipped * clipped))
        return delta * (gate + clipped * (gate * (1.0 - gate)) * (2.0 * dz)), {}

    return a * gate, backward


def _clipped(a: Array, xp: Namespace) -> Array:
    return xp.maximum(xp.minimum(a, SATURATED), -SATURATED)


@dataclass(frozen=True)
class SiLU(Layer):
    """h = a σ(a), h' = σ(a) + a σ(a) (1 − σ(a)); also called swish.

    Source: Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning", 2018.
    """

    def forward(self, params: ParameterTree, a: Array, ctx: Context) -> tuple[Array, Backward]:
        s = logistic(a, xp=ctx.xp)

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            return delta * (s + a * (s * (1.0 - s))), {}

        return a * s, backward

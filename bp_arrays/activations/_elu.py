"""Exponential linear units: a line for a > 0, an exponential that levels off below."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.checks import check_number
from bp_arrays.layers import Context, Layer
from bp_arrays.typing import Array, Backward, Namespace, ParameterTree


@dataclass(frozen=True)
class ELU(Layer):
    """h = a for a > 0, else α (eᵃ − 1); h' = 1 for a > 0, else α eᵃ, also at a = 0.

    Parameters
    ----------
    alpha : float, default 1.0
        α > 0; h tends to −α for large negative a.

    Raises
    ------
    InputError
        If α is not finite and positive.

    Notes
    -----
    Clevert, Unterthiner and Hochreiter, "Fast and Accurate Deep Network Learning by
    Exponential Linear Units", 2016.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_number(self, "alpha", above=0.0)

    def forward(self, params: ParameterTree, a: Array, ctx: Context) -> tuple[Array, Backward]:
        return _scaled_elu(a, 1.0, self.alpha, ctx.xp)


@dataclass(frozen=True)
class SELU(Layer):
    """λ times ELU with the λ and α that keep a mean of 0 and a variance of 1 from layer to layer.

    Source: Klambauer, Unterthiner, Mayr and Hochreiter, "Self-Normalizing Neural Networks", 2017,
    whose λ = 1.0507… and α = 1.6732… solve the fixed-point equations (4) and (5).
    """

    def forward(self, params: ParameterTree, a: Array, ctx: Context) -> tuple[Array, Backward]:
        return _scaled_elu(a, 1.0507009873554805, 1.6732632423543772, ctx.xp)


def _scaled_elu(a: Array, scale: float, alpha: float, xp: Namespace) -> tuple[Array, Backward]:
    negative = xp.minimum(a, 0.0)  # the exponential of a large a would overflow

    def backward(delta: Array) -> tuple[Array, ParameterTree]:
        return delta * xp.where(a > 0.0, scale, scale * alpha * xp.exp(negative)), {}

    return xp.where(a > 0.0, scale * a, scale * alpha * xp.expm1(negative)), backward

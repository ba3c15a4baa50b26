"""Rectified linear units: ReLU, h = max(a, 0), and leaky ReLU."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.checks import check_number
from bp_arrays.layers import Context, Layer
from bp_arrays.typing import Array, Backward, ParameterTree


@dataclass(frozen=True)
class ReLU(Layer):
    """h = max(a, 0); h' = 1 for a > 0, else 0, also at the kink a = 0. NaN stays NaN.

    Source: Nair and Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", 2010.
    """

    def forward(self, params: ParameterTree, a: Array, ctx: Context) -> tuple[Array, Backward]:
        xp = ctx.xp
        h = xp.maximum(a, 0.0)

        # h > 0 where a > 0, so a need not be stored; where, not a product: 0 · inf would be NaN
        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            return xp.where(h > 0.0, delta, 0.0), {}

        return h, backward


@dataclass(frozen=True)
class LeakyReLU(Layer):
    """h = a for a > 0, else s a; h' = 1 for a > 0, else s, also at the kink a = 0.

    Parameters
    ----------
    negative_slope : float, default 0.01
        s, any finite number.

    Raises
    ------
    InputError
        If the slope is not finite.

    Notes
    -----
    Maas, Hannun and Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic
    Models", 2013.
    """

    negative_slope: float = 0.01

    def __post_init__(self) -> None:
        check_number(self, "negative_slope")

    def forward(self, params: ParameterTree, a: Array, ctx: Context) -> tuple[Array, Backward]:
        xp, s = ctx.xp, self.negative_slope

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            return xp.where(a > 0.0, delta, s * delta), {}

        return xp.where(a > 0.0, a, s * a), backward

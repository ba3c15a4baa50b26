"""Dropout: set random values to zero in training."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.checks import check_number
from bp_arrays.errors import InputError
from bp_arrays.layers._context import Context
from bp_arrays.layers._layer import Layer
from bp_arrays.typing import Array, Backward, ParameterTree


@dataclass(frozen=True)
class Dropout(Layer):
    """Dropout: y = x m / q with a random mask m of ones and zeros in training, else y = x.

    m is 1 with the probability q = 1 − rate, so the mean of y is x. The masks come from a
    counter-based generator and are the same on every device for the same seed. q is rounded to
    a multiple of 2⁻¹⁶, and x is divided by the rounded one.

    Parameters
    ----------
    rate : float, default 0.5
        The probability that a value is dropped, 0 ≤ rate < 1.

    Raises
    ------
    InputError
        If the rate is outside that range; in training, if the pass has no random stream.

    Notes
    -----
    Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
    2014, in the inverted form, which leaves inference untouched.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.Dropout(0.5), input_shape=(4,), device="cpu")
    >>> model.predict([[1.0, 2.0, 3.0, 4.0]]).tolist()
    [[1.0, 2.0, 3.0, 4.0]]
    """

    rate: float = 0.5

    def __post_init__(self) -> None:
        check_number(self, "rate", at_least=0.0, below=1.0)

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        if not ctx.training or self.rate == 0.0:
            return x, lambda delta: (delta, {})
        if ctx.random is None:
            raise InputError("Dropout: expected a random stream in training, Context(random=...)")
        xp = ctx.xp
        mask, q = ctx.random.keep_mask(x.shape, self.rate)
        scale = 1.0 / q

        # where, not a product with the mask: 0 · inf would be NaN
        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            return xp.where(mask, delta * scale, 0.0), {}

        return xp.where(mask, x * scale, 0.0), backward

"""PReLU: a leaky ReLU that learns its slope."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bp_arrays.checks import check_bool, check_number, last_axis
from bp_arrays.initializers import Initializer, Ones
from bp_arrays.kernels import narrowed, sum_rows, widened
from bp_arrays.layers import Context, Layer, Parameter, Specification
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True)
class PReLU(Layer):
    """h = a for a > 0, else s a, with a slope s that is learned.

    h' = 1 for a > 0, else s, also at the kink a = 0. ∂L/∂s is the sum of δ a over all a ≤ 0.

    Parameters
    ----------
    negative_slope : float, default 0.25
        The first value of s.
    per_channel : bool, default False
        Whether each channel, an entry of the last axis, has its own slope: the trainable
        parameter "slope" then has the shape (channels,), else (1,).

    Raises
    ------
    InputError
        If a field is out of range; when the model is built, if there is to be a slope per channel
        and a sample is a single number.

    Notes
    -----
    He, Zhang, Ren and Sun, "Delving Deep into Rectifiers: Surpassing Human-Level Performance on
    ImageNet Classification", 2015. PyTorch's `num_parameters` is 1 or the number of channels; Keras
    has a slope per entry of a sample, initialized to 0. A decay of weights pulls a slope to 0;
    `L2Penalty` leaves it alone.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.PReLU(), input_shape=(2,), device="cpu")
    >>> model.predict([[2.0, -2.0]]).tolist()
    [[2.0, -0.5]]
    """

    negative_slope: float = 0.25
    per_channel: bool = False

    def __post_init__(self) -> None:
        check_number(self, "negative_slope")
        check_bool(self, "per_channel")

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        slopes = last_axis("PReLU", input_shape, "channels") if self.per_channel else 1
        return {"slope": Parameter((slopes,), _Filled(self.negative_slope))}, input_shape

    def forward(self, params: ParameterTree, a: Array, ctx: Context) -> tuple[Array, Backward]:
        xp, s = ctx.xp, params["slope"]

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            product = widened(delta, xp) * widened(a, xp)
            terms = xp.where(a <= 0.0, product, 0.0)  # ∂L/∂s = Σ δ a over a ≤ 0
            rows = xp.reshape(terms, (math.prod(a.shape) // s.shape[0], s.shape[0]))
            ds = sum_rows(rows, device=ctx.device, xp=xp)
            dx = xp.where(a > 0.0, delta, s * delta) if ctx.needs_input_gradient else None
            return dx, {"slope": narrowed(ds, s.dtype, xp)}

        return xp.where(a > 0.0, a, s * a), backward


@dataclass(frozen=True)
class _Filled(Initializer):
    """The same number everywhere."""

    value: float

    def draw(self, shape: Shape, rng: Any) -> Array:
        return self.value * Ones().draw(shape, rng)

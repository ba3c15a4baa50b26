"""Global pooling: one number for each channel of an image or a signal."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from bp_arrays.checks import array_error
from bp_arrays.kernels import narrowed, sum_rows, widened
from bp_arrays.layers import Context, Layer, Specification
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True)
class GlobalAveragePool(Layer):
    """The mean of each channel over all positions, y_nc = Σ_p x_npc / P.

    (batch, height, width, channels), (batch, time, channels), or any number of axes between become
    (batch, channels). Every position gets the error divided by P.

    Raises
    ------
    InputError
        When the model is built, if a sample has no axis beside that of the channels.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> bp.Model(bp.GlobalAveragePool(), input_shape=(7, 7, 512), device="cpu").output_shape
    (512,)
    """

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        return {}, _channels(self, input_shape)

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        xp, (batch, *places, channels) = ctx.xp, x.shape
        count = math.prod(places)
        rows = widened(xp.reshape(x, (batch, count, channels)), xp)
        y = narrowed(sum_rows(rows, device=ctx.device, xp=xp) / count, x.dtype, xp)

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            share = xp.reshape(delta / count, (batch, *(1 for _ in places), channels))
            return xp.broadcast_to(share, x.shape), {}  # ∂y_nc/∂x_npc = 1 / P

        return y, backward


@dataclass(frozen=True)
class GlobalMaxPool(Layer):
    """The largest number of each channel over all positions, y_nc = max_p x_npc.

    (batch, height, width, channels), (batch, time, channels), or any number of axes between become
    (batch, channels). The error goes to the position of the largest number; of equal ones, to the
    first, row by row.

    Raises
    ------
    InputError
        When the model is built, if a sample has no axis beside that of the channels.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> bp.Model(bp.GlobalMaxPool(), input_shape=(100, 64), device="cpu").output_shape
    (64,)
    """

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        return {}, _channels(self, input_shape)

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        xp, (batch, *places, channels) = ctx.xp, x.shape
        count = math.prod(places)
        rows = xp.reshape(x, (batch, count, channels))
        y = _folded(xp.maximum, rows)  # (batch, 1, channels)

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            place = xp.arange(count, dtype=xp.int32, device=ctx.device)
            place = xp.reshape(place, (count, 1))
            first = _folded(xp.minimum, xp.where(rows == y, place, count))
            # ∂y_nc/∂x_npc = 1 at the first p with x_npc = y_nc, else 0
            dx = xp.where(place == first, xp.expand_dims(delta, axis=1), 0.0)
            return xp.reshape(dx, x.shape), {}

        return xp.reshape(y, (batch, channels)), backward


def _folded(function: Callable[[Array, Array], Array], rows: Array) -> Array:
    """Return the maximum or minimum over axis 1, by halves: NumPy's own takes six times as long."""
    rest = None
    while rows.shape[1] > 1:
        half = rows.shape[1] // 2
        if rows.shape[1] % 2:
            last = rows[:, 2 * half :, :]
            rest = last if rest is None else function(rest, last)
        rows = function(rows[:, :half, :], rows[:, half : 2 * half, :])
    return rows if rest is None else function(rows, rest)


def _channels(layer: Layer, shape: Shape) -> Shape:
    if len(shape) < 2 or not all(isinstance(n, int) and n > 0 for n in shape):
        expected = "shape (height, width, channels) or (time, channels)"
        advice = "for one channel, add that axis: x[..., None]" if len(shape) == 1 else ""
        raise array_error(type(layer).__name__, "input", expected, shape, advice)
    return shape[-1:]

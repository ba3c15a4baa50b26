"""`on_rows`: a forward written for (batch, features) that takes any number of leading axes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TypeVar

from bp_arrays.layers._context import Context
from bp_arrays.layers._layer import Layer
from bp_arrays.typing import Array, Backward, ParameterTree

L = TypeVar("L", bound=Layer)
Forward = Callable[[L, ParameterTree, Array, Context], tuple[Array, Backward]]


def on_rows(forward: Forward[L]) -> Forward[L]:
    """Decorate a forward that acts on the last axis of (batch, features).

    Of (batch, time, ..., features) every position becomes a row: one product of matrices is faster
    than one for each leading index, and the derivation stays that of the notes.
    """

    @functools.wraps(forward)
    def with_leading_axes(
        self: L, params: ParameterTree, x: Array, ctx: Context
    ) -> tuple[Array, Backward]:
        if x.ndim == 2:
            return forward(self, params, x, ctx)
        xp, shape = ctx.xp, tuple(x.shape)
        rows = xp.reshape(x, (math.prod(shape[:-1]), shape[-1]))
        y, rows_backward = forward(self, params, rows, ctx)

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            dx, gradients = rows_backward(xp.reshape(delta, tuple(y.shape)))
            return None if dx is None else xp.reshape(dx, shape), gradients

        return xp.reshape(y, (*shape[:-1], y.shape[-1])), backward

    return with_leading_axes

"""`in_float32`: compute a layer in float32 where its numbers are stored in half precision."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

from bp_arrays.kernels import narrowed, wide_dtype, widened
from bp_arrays.layers import Context, Layer
from bp_arrays.typing import Array, Backward, ParameterTree

L = TypeVar("L", bound=Layer)
Forward = Callable[[L, ParameterTree, Array, Context], tuple[Array, Backward]]


def in_float32(forward: Forward[L]) -> Forward[L]:
    """Decorate a forward that loses too many digits in float16 or bfloat16.

    Its arguments are widened to float32; the output and dx are rounded to the dtype of x again, the
    gradients to that of the parameters. Other dtypes are not touched.
    """

    @functools.wraps(forward)
    def in_wide_dtype(
        self: L, params: ParameterTree, x: Array, ctx: Context
    ) -> tuple[Array, Backward]:
        xp, dtype = ctx.xp, x.dtype
        if dtype == wide_dtype(x, xp):
            return forward(self, params, x, ctx)
        wide = {name: widened(parameter, xp) for name, parameter in params.items()}
        y, wide_backward = forward(self, wide, widened(x, xp), ctx)

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            dx, gradients = wide_backward(widened(delta, xp))
            narrow = {name: narrowed(g, params[name].dtype, xp) for name, g in gradients.items()}
            return None if dx is None else narrowed(dx, dtype, xp), narrow

        return narrowed(y, dtype, xp), backward

    return in_wide_dtype

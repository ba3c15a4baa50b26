"""`Flatten`: each sample as one vector."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from bp_arrays.layers._context import Context
from bp_arrays.layers._layer import Layer, Specification, check_one_array
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True)
class Flatten(Layer):
    """Each sample as one vector: (batch, 28, 28) -> (batch, 784), the last axis fastest.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> bp.Model(bp.Flatten(), input_shape=(28, 28), device="cpu").output_shape
    (784,)
    """

    passes_input_on: ClassVar[bool] = True

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        check_one_array(self, input_shape)
        return {}, (math.prod(input_shape),)

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        xp = ctx.xp

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            return xp.reshape(delta, x.shape), {}

        return xp.reshape(x, (x.shape[0], math.prod(x.shape[1:]))), backward

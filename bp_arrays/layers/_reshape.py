"""`Reshape`: each sample in another shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from bp_arrays.checks import argument_error, as_integer
from bp_arrays.errors import InputError
from bp_arrays.layers._context import Context
from bp_arrays.layers._layer import Layer, Specification, check_one_array
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True)
class Reshape(Layer):
    """Each sample in another shape: (batch, 784) -> (batch, 28, 28, 1), the last axis fastest.

    It turns the pixels of a table, such as `sklearn.datasets.load_digits`, into images for a
    convolution; `Flatten` is the way back.

    Parameters
    ----------
    shape : tuple of int
        The new shape of one sample, of as many numbers as before.

    Raises
    ------
    InputError
        If the shape is not a tuple of whole numbers >= 1; when the model is built, if a sample
        has another number of values.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> net = bp.Sequential(bp.Reshape((8, 8, 1)), bp.Conv2d(16, 3))
    >>> bp.Model(net, input_shape=64, device="cpu").output_shape
    (6, 6, 16)
    """

    passes_input_on: ClassVar[bool] = True

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.shape, (tuple, list)) or not self.shape:
            expected = "a tuple of whole numbers >= 1, such as (28, 28, 1)"
            raise argument_error("Reshape", "shape", self.shape, expected)
        shape = tuple(as_integer("Reshape", "shape", n, at_least=1) for n in self.shape)
        object.__setattr__(self, "shape", shape)

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        check_one_array(self, input_shape)
        if math.prod(input_shape) != math.prod(self.shape):
            raise InputError(
                f"Reshape({self.shape}): expected samples of {math.prod(self.shape)} numbers, got "
                f"shape {tuple(input_shape)}, {math.prod(input_shape)} numbers"
            )
        return {}, self.shape

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        xp = ctx.xp

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            return xp.reshape(delta, x.shape), {}

        return xp.reshape(x, (x.shape[0], *self.shape)), backward

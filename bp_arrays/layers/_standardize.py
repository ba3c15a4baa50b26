"""Inputs on a common scale, the scale kept with the model."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.initializers import Ones, Zeros
from bp_arrays.layers._context import Context
from bp_arrays.layers._layer import Layer, Parameter, Specification
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True)
class Standardize(Layer):
    """Each feature less its mean, over its standard deviation: y = (x − mean) / deviation.

    Mean and deviation are parameters of the model that training leaves alone: measure them on
    the training data, set them once, and the saved model takes raw data ever after.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.Standardize(), input_shape=(2,), device="cpu")
    >>> model.set_parameters({"mean": [1.0, 2.0], "deviation": [2.0, 4.0]})
    >>> model.predict([[3.0, 10.0]]).tolist()
    [[1.0, 2.0]]
    """

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        return {
            "mean": Parameter(input_shape, Zeros(), trainable=False),
            "deviation": Parameter(input_shape, Ones(), trainable=False),
        }, input_shape

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        deviation = params["deviation"]

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            return delta / deviation, {}

        return (x - params["mean"]) / deviation, backward

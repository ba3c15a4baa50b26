"""`Standardize`: features with mean 0 and standard deviation 1."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.initializers import Ones, Zeros
from bp_arrays.layers._context import Context
from bp_arrays.layers._layer import Layer, Parameter, Specification, check_one_array
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True)
class Standardize(Layer):
    """Standardized features: y = (x − mean) / scale, with the standard deviation as the scale.

    Mean and scale, one number per feature of the last axis, are non-trainable parameters of the
    model: measure them on the training data and set them once; the saved model then accepts raw
    data. A scale of 0 is refused; for a constant feature set it to 1.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.Standardize(), input_shape=(2,), device="cpu")
    >>> model.set_parameters({"mean": [1.0, 2.0], "scale": [2.0, 4.0]})
    >>> model.predict([[3.0, 10.0]]).tolist()
    [[1.0, 2.0]]
    """

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        check_one_array(self, input_shape)
        features = input_shape[-1:]
        return {
            "mean": Parameter(features, Zeros(), trainable=False),
            "scale": Parameter(features, Ones(), trainable=False, positive=True),
        }, input_shape

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        scale = params["scale"]

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            return delta / scale, {}

        return (x - params["mean"]) / scale, backward

"""`Residual`: y = x + f(x)."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.checks import argument_error
from bp_arrays.errors import InputError
from bp_arrays.layers._context import Context
from bp_arrays.layers._layer import Layer, Specification, check_one_array
from bp_arrays.layers._sequential import Sequential
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True, init=False)
class Residual(Layer):
    """A residual connection around the layers f: y = x + f(x).

    Parameters
    ----------
    *layers : Layer
        f, applied in order; f(x) must have the shape of x. A single layer's parameters keep
        their names, those of several are named as in `Sequential`.

    Raises
    ------
    InputError
        When the model is built, if f changes the shape; at once, if there is no layer.

    Notes
    -----
    He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2016, eq. 1.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> block = bp.Residual(bp.Linear(4), bp.Tanh(), bp.Linear(4))
    >>> bp.Model(block, input_shape=(4,), device="cpu").output_shape
    (4,)
    """

    body: Layer

    def __init__(self, *layers: Layer) -> None:
        if not layers:
            raise InputError(
                "Residual(): expected at least one layer, such as Residual(Linear(4), Tanh())"
            )
        body = layers[0] if len(layers) == 1 else Sequential(*layers)
        if not isinstance(body, Layer):
            raise argument_error("Residual", "layers", body, "a layer")
        object.__setattr__(self, "body", body)

    def parts(self) -> dict[str, Layer]:
        return {"": self.body}

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        check_one_array(self, input_shape)
        specification, output_shape = self.body.init(input_shape)
        if output_shape != input_shape:
            raise InputError(
                f"Residual: expected f(x) of the shape of x, {input_shape}, got {output_shape}"
            )
        return specification, output_shape

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        needs_dx = ctx.needs_input_gradient
        f, body_backward = ctx.forward("", self.body, params, x, needs_input_gradient=needs_dx)

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            df, gradients = body_backward(delta)
            dx = delta + df if needs_dx else None  # the sum over both paths
            return dx, gradients

        return x + f, backward

"""The residual connection: y = x + f(x)."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.errors import InputError
from bp_arrays.layers._context import Context
from bp_arrays.layers._layer import Layer, Specification
from bp_arrays.layers._sequential import Sequential
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True, init=False)
class Residual(Layer):
    """The input is added to what the layers make of it: y = x + f(x).

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
            raise InputError("Residual() needs at least one layer: Residual(Linear(4), Tanh())")
        body = layers[0] if len(layers) == 1 else Sequential(*layers)
        if not isinstance(body, Layer):
            raise InputError(f"Residual: expected a layer, got {body!r}")
        object.__setattr__(self, "body", body)

    def parts(self) -> dict[str, Layer]:
        return {"": self.body}

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        specification, output_shape = self.body.init(input_shape)
        if output_shape != input_shape:
            raise InputError(
                f"Residual: f(x) must have the shape of x, but turns {input_shape} "
                f"into {output_shape}"
            )
        return specification, output_shape

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        needed = ctx.needs_input_gradient
        f, body_backward = ctx.forward("", self.body, params, x, needs_input_gradient=needed)

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            df, gradients = body_backward(delta)
            dx = delta + df if needed else None  # two paths: their sum
            return dx, gradients

        return x + f, backward

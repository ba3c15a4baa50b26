"""The fully connected layer: a = x w + b, on the last axis."""

from __future__ import annotations

from dataclasses import dataclass, field

from bp_arrays.checks import array_error, check_bool, check_integer, check_kind
from bp_arrays.initializers import GlorotUniform, Initializer, Zeros
from bp_arrays.layers._context import Context
from bp_arrays.layers._layer import Layer, Parameter, Specification, check_one_array
from bp_arrays.layers._on_rows import on_rows
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True)
class Linear(Layer):
    """Fully connected layer: every output is a weighted sum of all inputs, a = x w + b.

    It acts on the last axis: (batch, in) becomes (batch, out), and (batch, time, in) becomes
    (batch, time, out), with the same w and b at every position. An image (batch, 28, 28) is
    28 rows of 28 features to it: put `Flatten()` before it to connect all pixels.

    Parameters
    ----------
    out_features : int
        Number of outputs; the number of inputs is inferred.
    bias : bool, default True
        Whether b is added.
    weight_init : Initializer, default GlorotUniform()
        Draws w, of shape (in_features, out_features), as in the derivation.
    bias_init : Initializer, default Zeros()
        Draws b, of shape (out_features,).

    Raises
    ------
    InputError
        If a field has the wrong type or `out_features` is below 1; when the model is built, if
        a sample is a single number without an axis.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.Linear(3), input_shape=(2,), device="cpu")
    >>> {name: w.shape for name, w in model.parameters.items()}
    {'weight': (2, 3), 'bias': (3,)}
    """

    out_features: int
    bias: bool = True
    weight_init: Initializer = field(default_factory=GlorotUniform)
    bias_init: Initializer = field(default_factory=Zeros)

    def __post_init__(self) -> None:
        check_integer(self, "out_features", at_least=1)
        check_bool(self, "bias")
        for name in ("weight_init", "bias_init"):
            check_kind(self, name, Initializer, "an initializer such as HeNormal()")

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        check_one_array(self, input_shape)
        if not input_shape:
            raise array_error(
                f"Linear({self.out_features})",
                "input",
                "shape (..., in_features)",
                input_shape,
                "put Flatten() before it",
            )
        *leading, in_features = input_shape
        parameters = {"weight": Parameter((in_features, self.out_features), self.weight_init)}
        if self.bias:
            parameters["bias"] = Parameter((self.out_features,), self.bias_init)
        return parameters, (*leading, self.out_features)

    @on_rows
    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        xp = ctx.xp
        w = params["weight"]
        a = x @ w  # (batch, in) (in, out) -> (batch, out)
        if self.bias:
            a = a + params["bias"]

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            dx = delta @ w.T if ctx.needs_input_gradient else None  # the weighted sum of the δ_j
            if not ctx.needs_parameter_gradients:
                return dx, {}
            gradients = {"weight": x.T @ delta}  # ∂L/∂w_ij = Σ_batch x_i δ_j
            if self.bias:
                gradients["bias"] = xp.sum(delta, axis=0)  # ∂L/∂b_j = Σ_batch δ_j
            return dx, gradients

        return a, backward

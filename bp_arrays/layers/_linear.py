"""The fully connected layer: a = x w + b."""

from __future__ import annotations

from dataclasses import dataclass, field

from bp_arrays.errors import InputError
from bp_arrays.initializers import GlorotUniform, Initializer, Zeros
from bp_arrays.layers._context import Context
from bp_arrays.layers._layer import Layer, Parameter, Specification
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True)
class Linear(Layer):
    """Every output is a weighted sum of every input: a = x w + b.

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
        If a field is not of its kind or `out_features` is below 1; when the model is built, if
        an input is not one vector a sample.

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
        if isinstance(self.out_features, bool) or not isinstance(self.out_features, int):
            raise InputError(f"Linear(out_features): expected an int, got {self.out_features!r}")
        if self.out_features < 1:
            raise InputError(f"Linear(out_features): expected 1 or more, got {self.out_features}")
        if not isinstance(self.bias, bool):
            raise InputError(f"Linear(bias): expected True or False, got {self.bias!r}")
        for name in ("weight_init", "bias_init"):
            if not isinstance(getattr(self, name), Initializer):
                raise InputError(
                    f"Linear({name}): expected an initializer such as HeNormal(), "
                    f"got {getattr(self, name)!r}"
                )

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        if len(input_shape) != 1:
            raise InputError(
                f"Linear({self.out_features}) takes one vector a sample, shape (in_features,), "
                f"but its input has shape {input_shape}: put Flatten() before it"
            )
        parameters = {"weight": Parameter((*input_shape, self.out_features), self.weight_init)}
        if self.bias:
            parameters["bias"] = Parameter((self.out_features,), self.bias_init)
        return parameters, (self.out_features,)

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        xp = ctx.xp
        w = params["weight"]
        a = x @ w  # (batch, in) (in, out) -> (batch, out)
        if self.bias:
            a = a + params["bias"]

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            gradients = {"weight": x.T @ delta}  # ∂L/∂w_ij = Σ_batch x_i δ_j
            if self.bias:
                gradients["bias"] = xp.sum(delta, axis=0)  # ∂L/∂b_j = Σ_batch δ_j
            dx = delta @ w.T if ctx.needs_input_gradient else None  # the weighted sum of the δ_j
            return dx, gradients

        return a, backward

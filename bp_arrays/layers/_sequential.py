"""`Sequential`: layers in order; backward applies the chain rule from the last to the first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bp_arrays.errors import InputError
from bp_arrays.layers._context import Context
from bp_arrays.layers._layer import Layer, Specification
from bp_arrays.layers._zero_error import propagated
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True, init=False)
class Sequential(Layer):
    """Layers in order, each applied to the output of the one before.

    Parameters
    ----------
    *layers : Layer
        From first to last. The parameters of the k-th, counted from 0, are named "k.name". The
        same layer at two places has parameters at each.

    Raises
    ------
    InputError
        If an argument is not a layer.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> net = bp.Sequential(bp.Linear(3), bp.Sigmoid(), bp.Linear(2))
    >>> list(bp.Model(net, input_shape=(2,), device="cpu").parameters)
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """

    passes_input_on: ClassVar[bool] = True

    layers: tuple[Layer, ...]

    def __init__(self, *layers: Layer) -> None:
        for k, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                is_class = isinstance(layer, type)
                got = f"the class {layer.__name__}" if is_class else repr(layer)
                advice = f"; write {layer.__name__}(...)" if is_class else ""
                raise InputError(f"Sequential, argument {k}: expected a layer, got {got}{advice}")
        object.__setattr__(self, "layers", layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def parts(self) -> dict[str, Layer]:
        return {str(k): layer for k, layer in enumerate(self.layers)}

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        specifications: Specification = {}
        shape = input_shape
        for k, layer in enumerate(self.layers):
            specification, shape = layer.init(shape)
            if specification:
                specifications[str(k)] = specification
        return specifications, shape

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        steps: list[tuple[str, Backward]] = []
        needs_dx = ctx.needs_input_gradient
        for k, layer in enumerate(self.layers):
            name = str(k)
            x, back = ctx.forward(name, layer, params, x, needs_input_gradient=needs_dx)
            steps.append((name, back))
            if params.get(name):
                needs_dx = True  # later layers propagate the error to these parameters

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            gradients: ParameterTree = {}
            for name, back in reversed(steps):
                # None if no layer before has parameters, or if the error is zero
                delta, layer_gradients = propagated(back, delta)
                if layer_gradients or (layer_gradients is None and params.get(name)):
                    gradients[name] = layer_gradients
            return delta, gradients

        return x, backward

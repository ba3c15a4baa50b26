"""`Parallel`: layers side by side, one for each of several inputs, or all on one input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bp_arrays.checks import argument_error, array_error
from bp_arrays.errors import InputError, unknown_name
from bp_arrays.layers._context import Context
from bp_arrays.layers._layer import Layer, Specification
from bp_arrays.layers._zero_error import propagated, total_error
from bp_arrays.trees import Tree, described_tree, is_shape
from bp_arrays.typing import Backward, ParameterTree


@dataclass(frozen=True, init=False)
class Parallel(Layer):
    """Layers side by side: y_k = f_k(x_k) for several inputs, y_k = f_k(x) for one.

    Of several inputs each layer takes its own: `Parallel(f, g)` a tuple of two, and
    `Parallel(left=f, right=g)` the entries "left" and "right" of a dict; an entry without a layer
    passes through unchanged. One array goes to every layer: a fan-out, whose errors are added,
    ∂L/∂x = Σ_k ∂L/∂x_k. The output is a tuple, or a dict in the order of the inputs; after a
    fan-out, in that of the layers.

    An error None is that of an output that does not reach the loss: it is zero, and the layers
    before it are skipped.

    Parameters
    ----------
    *layers : Layer
        For a tuple or one array; the parameters of the k-th, counted from 0, are named "k.name".
    **named : Layer
        For a dict or one array; the parameters are named "left.weight". Not both.

    Raises
    ------
    InputError
        If there is no layer, or there are layers of both kinds, or one is not a layer; when the
        model is built, if the inputs do not match the layers.

    Notes
    -----
    A layer that stands at two places, as f in `Parallel(f, f)`, is a description used twice: each
    place has parameters of its own, unlike in PyTorch and Keras.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> net = bp.Sequential(
    ...     bp.Parallel(left=bp.Linear(3), right=bp.Linear(4)), bp.Concatenate(), bp.Linear(1)
    ... )
    >>> model = bp.Model(net, {"left": 5, "right": 2}, device="cpu")
    >>> [name for name in model.parameters if name.startswith("0.left")]
    ['0.left.weight', '0.left.bias']
    >>> model.predict({"left": [[1.0] * 5], "right": [[1.0] * 2]}).shape
    (1, 1)

    Two outputs of one input:

    >>> heads = bp.Parallel(kind=bp.Linear(3), size=bp.Linear(1))
    >>> bp.Model(bp.Sequential(bp.Linear(8), bp.Tanh(), heads), 5, device="cpu").output_shape
    {'kind': (3,), 'size': (1,)}
    """

    passes_input_on: ClassVar[bool] = True

    layers: tuple[Layer, ...]
    names: tuple[str, ...] | None
    """The names of the layers; None for a tuple."""

    def __init__(self, /, *layers: Layer, **named: Layer) -> None:
        if bool(layers) == bool(named):
            got = "none" if not layers else "both"
            raise InputError(
                f"Parallel: expected layers by position or by name, got {got}; write "
                "Parallel(Linear(2), Linear(3)) or Parallel(left=Linear(2), right=Linear(3))"
            )
        for name, layer in (named or {str(k): layer for k, layer in enumerate(layers)}).items():
            if not isinstance(layer, Layer):
                is_class = isinstance(layer, type)
                advice = f"write {layer.__name__}(...)" if is_class else ""
                raise argument_error("Parallel", name, layer, "a layer", advice)
            if not name or "." in name:
                raise argument_error("Parallel", "name", name, "a name without a dot")
        object.__setattr__(self, "layers", layers or tuple(named.values()))
        object.__setattr__(self, "names", tuple(named) or None)

    def __repr__(self) -> str:
        if self.names is None:
            return f"Parallel({', '.join(map(repr, self.layers))})"
        return f"Parallel({', '.join(f'{name}={f!r}' for name, f in self.parts().items())})"

    def parts(self) -> dict[str, Layer]:
        names = self.names or map(str, range(len(self.layers)))
        return dict(zip(names, self.layers, strict=True))

    def init(self, input_shape: Tree) -> tuple[Specification, Tree]:
        self._check(input_shape)
        specifications: Specification = {}
        outputs: Tree = dict(input_shape) if isinstance(input_shape, Mapping) else {}
        for k, (name, layer) in enumerate(self.parts().items()):
            shape = input_shape
            if not is_shape(input_shape):
                shape = input_shape[name if self.names else k]
            specification, outputs[name] = layer.init(shape)
            if specification:
                specifications[name] = specification
        return specifications, outputs if self.names else tuple(outputs.values())

    def forward(self, params: ParameterTree, x: Tree, ctx: Context) -> tuple[Tree, Backward]:
        needs_dx, is_fan_out = ctx.needs_input_gradient, not isinstance(x, (dict, tuple))
        steps: list[tuple[str, Backward]] = []
        y: Tree = dict(x) if isinstance(x, dict) else {}
        for k, (name, layer) in enumerate(self.parts().items()):
            part = x if is_fan_out else x[name if self.names else k]
            y[name], back = ctx.forward(name, layer, params, part, needs_input_gradient=needs_dx)
            steps.append((name, back))

        def backward(delta: Tree) -> tuple[Tree, ParameterTree]:
            gradients: ParameterTree = {}
            errors = dict(delta) if self.names else dict(zip(y, delta, strict=True))
            dx: Tree = {}
            for name, back in steps:
                dx[name], part_gradients = propagated(back, errors[name])
                if part_gradients or (part_gradients is None and params.get(name)):
                    gradients[name] = part_gradients
            if is_fan_out:  # x reaches the loss through every layer: the errors are added
                return total_error(tuple(dx.values())) if needs_dx else None, gradients
            return errors | dx if self.names else tuple(dx.values()), gradients

        return y if self.names else tuple(y.values()), backward

    def _check(self, shapes: Tree) -> None:
        """Raise InputError unless there is an input for each layer."""
        if is_shape(shapes):
            return
        if self.names is None:
            if not isinstance(shapes, tuple) or len(shapes) != len(self.layers):
                expected = f"one array, or a tuple of {len(self.layers)}, one for each layer"
                raise array_error("Parallel", "input", expected, described_tree(shapes))
            return
        if not isinstance(shapes, Mapping):
            expected = f"one array, or a dict with {', '.join(self.names)}"
            advice = "write Parallel(f, g) for a tuple"
            raise array_error("Parallel", "input", expected, described_tree(shapes), advice)
        for name in self.names:
            if name not in shapes:
                raise InputError(f"Parallel({name}=): {unknown_name('input', name, shapes)}")

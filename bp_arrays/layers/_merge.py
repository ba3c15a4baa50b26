"""Layers that make one array of several: `Concatenate`, `Add`, `Multiply`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from operator import add, mul
from typing import ClassVar

from bp_arrays.checks import argument_error, array_error, check_integer
from bp_arrays.layers._context import Context
from bp_arrays.layers._layer import Layer, Specification
from bp_arrays.trees import Tree, described_tree, is_shape
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True)
class Concatenate(Layer):
    """Several arrays one after the other: y = [x_1, x_2, ...] along an axis.

    Each x_k receives its part of the error. The arrays of a dict are taken in its order.

    Parameters
    ----------
    axis : int, default -1
        The axis along which the sizes are added; the others must be equal. It counts the batch
        axis as 0, as in PyTorch, Keras and ONNX, and may not be the batch axis.

    Raises
    ------
    InputError
        If the axis is no whole number, or is that of the batch; when the model is built, if the
        input is one array or the shapes do not fit.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.Concatenate(), {"left": 2, "right": 1}, device="cpu")
    >>> model.predict({"left": [[1.0, 2.0]], "right": [[3.0]]}).tolist()
    [[1.0, 2.0, 3.0]]
    """

    passes_input_on: ClassVar[bool] = True

    axis: int = -1

    def __post_init__(self) -> None:
        check_integer(self, "axis")
        if self.axis == 0:
            raise argument_error("Concatenate", "axis", 0, "another axis than that of the batch")

    def init(self, input_shape: Tree) -> tuple[Specification, Shape]:
        shapes = _shapes("Concatenate", input_shape)
        ndim = len(shapes[0])
        k = self.axis - 1 if self.axis > 0 else self.axis + ndim  # of a sample, without the batch
        if not 0 <= k < ndim:
            got = f"samples of shape {shapes[0]}"
            raise array_error(f"Concatenate({self.axis})", "input", f"an axis {self.axis}", got)
        rest = {(*shape[:k], *shape[k + 1 :]) for shape in shapes}
        if len(rest) > 1 or any(len(shape) != ndim for shape in shapes):
            expected = f"shapes that are equal except along axis {self.axis}"
            got = ", ".join(map(str, shapes))
            raise array_error(f"Concatenate({self.axis})", "input", expected, got)
        return {}, (*shapes[0][:k], sum(shape[k] for shape in shapes), *shapes[0][k + 1 :])

    def forward(self, params: ParameterTree, x: Tree, ctx: Context) -> tuple[Array, Backward]:
        xp, parts = ctx.xp, _parts(x)
        axis = self.axis % parts[0].ndim
        ends = tuple(accumulate(part.shape[axis] for part in parts))
        before = (slice(None),) * axis

        def backward(delta: Array) -> tuple[Tree, ParameterTree]:
            spans = zip((0, *ends), ends, strict=False)
            return _like(x, [delta[(*before, slice(*span), ...)] for span in spans]), {}

        return xp.concat(list(parts), axis=axis), backward


@dataclass(frozen=True)
class Add(Layer):
    """The sum of arrays of one shape: y = Σ_k x_k, ∂L/∂x_k = δ.

    Raises
    ------
    InputError
        When the model is built, if the input is one array or the shapes differ.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> net = bp.Sequential(bp.Parallel(bp.Identity(), bp.Identity()), bp.Add())
    >>> bp.Model(net, input_shape=2, device="cpu").predict([[1.0, 2.0]]).tolist()
    [[2.0, 4.0]]
    """

    def init(self, input_shape: Tree) -> tuple[Specification, Shape]:
        return {}, _common_shape("Add", input_shape)

    def forward(self, params: ParameterTree, x: Tree, ctx: Context) -> tuple[Array, Backward]:
        parts = _parts(x)

        def backward(delta: Array) -> tuple[Tree, ParameterTree]:
            return _like(x, [delta] * len(parts)), {}

        return reduce(add, parts), backward


@dataclass(frozen=True)
class Multiply(Layer):
    """The product of arrays of one shape: y = Π_k x_k, ∂L/∂x_k = δ Π_{j≠k} x_j.

    Raises
    ------
    InputError
        When the model is built, if the input is one array or the shapes differ.

    Examples
    --------
    A gate, f(x) · σ(g(x)):

    >>> import bp_arrays as bp
    >>> gate = bp.Sequential(bp.Linear(3), bp.Sigmoid())
    >>> net = bp.Sequential(bp.Parallel(bp.Linear(3), gate), bp.Multiply())
    >>> bp.Model(net, input_shape=2, device="cpu").output_shape
    (3,)
    """

    def init(self, input_shape: Tree) -> tuple[Specification, Shape]:
        return {}, _common_shape("Multiply", input_shape)

    def forward(self, params: ParameterTree, x: Tree, ctx: Context) -> tuple[Array, Backward]:
        parts = _parts(x)

        def backward(delta: Array) -> tuple[Tree, ParameterTree]:
            # products, not y / x_k, which would be 0 / 0 where x_k is 0
            others = [parts[:k] + parts[k + 1 :] for k in range(len(parts))]
            return _like(x, [reduce(mul, each, delta) for each in others]), {}

        return reduce(mul, parts), backward


def _parts(x: Tree) -> tuple[Array, ...]:
    """Return the arrays of a tuple or dict in order."""
    return tuple(x.values()) if isinstance(x, dict) else x


def _like(x: Tree, parts: list[Array]) -> Tree:
    """Return arrays as a tuple or dict like x."""
    return dict(zip(x, parts, strict=True)) if isinstance(x, dict) else tuple(parts)


def _shapes(where: str, input_shape: Tree) -> tuple[Shape, ...]:
    """Return the shapes of several arrays; raise InputError for any other input."""
    shapes = () if is_shape(input_shape) else _parts(input_shape)
    if not shapes or not all(map(is_shape, shapes)):
        got = described_tree(input_shape)
        raise array_error(where, "input", "a tuple or dict of arrays", got)
    return shapes


def _common_shape(where: str, input_shape: Tree) -> Shape:
    """Return the shape of several arrays; raise InputError if they differ."""
    shapes = _shapes(where, input_shape)
    if len(set(shapes)) > 1:
        got = ", ".join(map(str, shapes))
        raise array_error(where, "input", "arrays of one shape", got)
    return shapes[0]

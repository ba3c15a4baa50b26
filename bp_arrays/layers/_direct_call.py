"""A layer called directly, without a model: `layer(x, params)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bp_arrays.checks import array_error
from bp_arrays.devices import active, direct_indices, direct_values
from bp_arrays.errors import InputError
from bp_arrays.layers._context import Context
from bp_arrays.layers._index_shape import IndexShape
from bp_arrays.layers._layer import Layer, Parameter
from bp_arrays.trees import Tree, leaves, map_tree
from bp_arrays.typing import Array, Backward, ParameterTree


def called(layer: Layer, x: Tree, params: Any) -> tuple[Tree, Backward]:
    """Return what `layer.forward` does, after checks; see `Layer.__call__`."""
    name = type(layer).__name__

    def array_of(part: Any) -> Array:
        if layer.index_size is not None:
            return direct_indices(name, "x", part, layer.index_size)
        return direct_values(name, "x", part)

    x = map_tree(array_of, x)
    like = next(leaves(x), None)
    if like is None or any(not array.ndim for array in leaves(x)):
        raise array_error(name, "x", "a batch, shape (batch, ...)", "no rows")
    shape_of = tuple if layer.index_size is None else IndexShape
    specification, _ = layer.init(map_tree(lambda array: shape_of(array.shape[1:]), x))
    like = None if layer.index_size is not None else like
    arrays = _parameters(name, (), specification, params, like)
    with active(x):
        y, backward = layer.forward(arrays, x, Context.of(x))

    def backward_on_device(delta: Tree) -> tuple[Tree, ParameterTree]:
        with active(x):
            return backward(map_tree(lambda d, out: direct_values(name, "delta", d, out), delta, y))

    return y, backward_on_device


def _parameters(
    where: str, path: tuple[str, ...], specification: Any, params: Any, like: Array
) -> ParameterTree:
    """Return the parameters of a layer as arrays, nested as in its specification."""
    if params is None:
        params = {}
    if not isinstance(params, Mapping):
        raise array_error(where, "params", "a dict of arrays by name", type(params).__name__)
    tree: ParameterTree = {}
    for name, part in specification.items():
        dotted = ".".join((*path, name))
        if isinstance(part, Parameter):
            if name not in params:
                raise InputError(
                    f"{where}(params=): expected {dotted!r}, an array of shape {part.shape}, got "
                    "none; pass it, or make a model, which has parameters: bp.Model(layer, shape)"
                )
            value = direct_values(where, f"params[{dotted!r}]", params[name], like)
            if tuple(value.shape) != tuple(part.shape):
                got = tuple(value.shape)
                raise array_error(where, f"params[{dotted!r}]", f"shape {tuple(part.shape)}", got)
            tree[name] = value
        else:
            tree[name] = _parameters(where, (*path, name), part, params.get(name), like)
    return tree

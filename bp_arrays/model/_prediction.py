"""`Prediction`: the mean and the spread over the members of an ensemble."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from bp_arrays.activations import ACTIVATIONS
from bp_arrays.checks import argument_error
from bp_arrays.errors import InputError
from bp_arrays.kernels import narrowed, widened
from bp_arrays.layers import (
    Context,
    Dropout,
    Ensemble,
    Layer,
    Parallel,
    Select,
    Sequential,
    Standardize,
)
from bp_arrays.trees import Tree, is_shape, leaves
from bp_arrays.typing import Array, Namespace

ELEMENTWISE = (*ACTIVATIONS.values(), Standardize, Dropout)
"""Layers after which the second axis of an output is still that of the members."""


class Prediction(NamedTuple):
    """The mean and the spread of an ensemble, as `Model.predict(x, spread=True)` returns them.

    Attributes
    ----------
    mean : array (batch, *output of a member), or dict or tuple of arrays
        The mean over the members.
    spread : array of the same shape, or dict or tuple of arrays
        The standard deviation over the members, √(Σ_m (y_m − mean)² / members).
    """

    mean: Tree
    spread: Tree


def checked_activation(activation: Any, output_shape: Tree) -> Tree:
    """Return the activation of each output, nested like the outputs; None where there is none.

    Raises
    ------
    InputError
        Unless it is a layer without parameters, or one for each output by name or position.
    """
    if is_shape(output_shape):
        if activation is None:
            return None
        if not isinstance(activation, Layer) or activation.init(output_shape)[0]:
            raise _activation_error(activation)
        return activation
    keys = _keys(output_shape)
    if activation is None or isinstance(activation, Layer):
        activation = dict.fromkeys(keys, activation)
    elif isinstance(activation, tuple):
        activation = dict(enumerate(activation))
    if not isinstance(activation, Mapping):
        raise _activation_error(activation)
    unknown = [key for key in activation if key not in keys]
    if unknown:
        raise InputError(
            f"predict(activation=): expected layers for the outputs {', '.join(map(repr, keys))}, "
            f"got one for {unknown[0]!r}"
        )
    each = {key: checked_activation(activation.get(key), output_shape[key]) for key in keys}
    return each if isinstance(output_shape, dict) else tuple(each.values())


def _keys(output_shape: Tree) -> list[Any]:
    """Return the names or positions of several outputs."""
    return list(output_shape) if isinstance(output_shape, dict) else [*range(len(output_shape))]


def _activation_error(activation: Any) -> InputError:
    expected = "a layer without parameters such as Softmax(), or one for each of several outputs"
    return argument_error("predict", "activation", activation, expected)


def activated(y: Tree, activation: Tree, ctx: Context) -> Tree:
    """Apply the activations of `checked_activation` to outputs."""
    if activation is None or y is None:
        return y
    if isinstance(activation, Layer):
        return activation.forward({}, y, ctx)[0]
    if isinstance(activation, dict):
        return {key: activated(y[key], activation[key], ctx) for key in y}
    return tuple(activated(*each, ctx) for each in zip(y, activation, strict=True))


def members_of(net: Layer, output_shape: Tree) -> Tree:
    """Return for each output whether its second axis is that of an ensemble's members.

    Raises
    ------
    InputError
        If there is no such output.

    >>> from bp_arrays import Linear
    >>> members_of(Ensemble(Linear(3), 5), (5, 3))
    True
    """
    if is_shape(output_shape):
        of_members: Tree = ends_in_ensemble(net)
    else:
        each = {key: ends_in_ensemble(net, key) for key in _keys(output_shape)}
        of_members = each if isinstance(output_shape, dict) else tuple(each.values())
    if not any(leaves(of_members)):
        raise InputError(
            "predict(spread=True): expected a net that ends in an Ensemble, got one without; "
            "build the model with Ensemble(net, 5) and train it with EnsembleLoss(loss)"
        )
    return of_members


def ends_in_ensemble(net: Layer, key: str | int | None = None) -> bool:
    """Return whether an output, of several the one of this name or position, is an ensemble's."""
    for layer in _backwards(net):
        if isinstance(layer, Select) and key is None:
            key = layer.key
        elif isinstance(layer, Parallel) and key is not None:
            parts = layer.parts()
            name = key if isinstance(key, str) else list(parts)[key]
            if name in parts:
                return ends_in_ensemble(parts[name])
        elif key is not None or not isinstance(layer, ELEMENTWISE):
            return key is None and isinstance(layer, Ensemble)
    return False


def _backwards(layer: Layer) -> Iterator[Layer]:
    """Yield the layers of nested chains, the last first."""
    if not isinstance(layer, Sequential):
        yield layer
        return
    for part in reversed(layer.layers):
        yield from _backwards(part)


def prediction_of(y: Tree, of_members: Tree, xp: Namespace) -> tuple[Tree, Tree]:
    """Return mean and spread of all outputs; the spread of one of no ensemble is None."""
    if isinstance(y, dict):
        pairs = {key: prediction_of(y[key], of_members[key], xp) for key in y}
        means = {key: mean for key, (mean, _) in pairs.items()}
        return means, {key: spread for key, (_, spread) in pairs.items()}
    if isinstance(y, tuple):
        both = [prediction_of(*each, xp) for each in zip(y, of_members, strict=True)]
        return tuple(mean for mean, _ in both), tuple(spread for _, spread in both)
    return mean_and_spread(y, xp) if of_members else (y, None)


def mean_over_members(y: Array, xp: Namespace) -> Array:
    """Return the mean over axis 1, computed in float32 for half precision."""
    return narrowed(xp.mean(widened(y, xp), axis=1), y.dtype, xp)


def mean_and_spread(y: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return the mean and the standard deviation over axis 1, in float32 for half precision."""
    wide = widened(y, xp)
    mean = xp.mean(wide, axis=1, keepdims=True)
    deviation = wide - mean
    spread = xp.sqrt(xp.mean(deviation * deviation, axis=1))
    return narrowed(xp.squeeze(mean, axis=1), y.dtype, xp), narrowed(spread, y.dtype, xp)

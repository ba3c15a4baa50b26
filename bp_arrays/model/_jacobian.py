"""The Jacobian of a net: the derivatives of all outputs of each sample by its inputs."""

from __future__ import annotations

import math
from typing import Any

from bp_arrays.layers import Context, Layer
from bp_arrays.trees import Tree, leaves, map_shapes, map_tree
from bp_arrays.typing import Array, Namespace, ParameterTree, Shape

ROWS = 512
"""Rows of a backward pass: few launches for small batches, activations in the cache for large."""


def jacobian(net: Layer, params: ParameterTree, x: Tree, output_shape: Tree, ctx: Context) -> Tree:
    """Return ∂y/∂x of each sample, (batch, *out, *in), nested like y and then like x.

    Each sample is copied once for each of several outputs, so that one backward pass propagates
    the errors e_k of all of them: the rows of a batch do not depend on each other. If there are
    too many, the same forward pass serves several backward passes.

    Parameters
    ----------
    net : Layer
    params : nested dict of arrays
    x : array (batch, *in), or tuple or dict of arrays
    output_shape : tuple of int, or tuple or dict of them
    ctx : Context
        Not of training: no layer may mix the samples.
    """
    xp, rows = ctx.xp, next(leaves(x)).shape[0]
    sizes = list(leaves(map_shapes(math.prod, output_shape)))
    most = max(1, *sizes)
    passes = math.ceil(most / max(1, ROWS // max(1, rows)))
    copies = math.ceil(most / passes)  # equal parts: 10 outputs in 4 passes are 3, 3, 3 and 1
    copied = map_tree(lambda array: _repeated(array, copies, xp), x)
    y, backward = net.forward(params, copied, ctx)

    def of_output(output: Array, only: Any) -> Tree:
        """Return the derivatives of one output; `only` puts an error at its place in the tree."""
        if not xp.isdtype(output.dtype, "real floating"):
            return None  # indices, passed through
        shape = tuple(output.shape[1:])
        size = math.prod(shape)
        parts = []
        for start in range(0, size, copies):
            delta = _unit_errors(start, copies, rows, size, output.dtype, ctx)
            dx = backward(only(xp.reshape(delta, output.shape)))[0]
            parts.append(complete_gradient(dx, copied, xp))

        def joined(*dx: Array) -> Array:
            by_output = [xp.reshape(part, (copies, rows, *part.shape[1:])) for part in dx]
            whole = by_output[0] if len(dx) == 1 else xp.concat(by_output, axis=0)
            axes = (1, 0, *range(2, whole.ndim))
            rows_first = xp.permute_dims(whole[:size, ...], axes)
            return xp.reshape(rows_first, (rows, *shape, *whole.shape[2:]))

        return map_tree(joined, *parts)

    return _each_output(of_output, y)


def _each_output(function: Any, y: Tree, only: Any = lambda delta: delta) -> Tree:
    """Apply a function to each output and to the way to an error of this output alone."""
    if isinstance(y, (dict, tuple)):
        keys = list(y) if isinstance(y, dict) else list(range(len(y)))
        parts = {}
        for key in keys:

            def only_here(delta: Any, key: Any = key) -> Any:
                errors = {other: delta if other == key else None for other in keys}
                return only(errors if isinstance(y, dict) else tuple(errors.values()))

            parts[key] = _each_output(function, y[key], only_here)
        return parts if isinstance(y, dict) else tuple(parts.values())
    return function(y, only)


def _repeated(array: Array, copies: int, xp: Namespace) -> Array:
    """Return copies of a batch, one after the other: (copies * batch, ...)."""
    shape: Shape = tuple(array.shape)
    if copies == 1:
        return array
    whole = xp.broadcast_to(xp.reshape(array, (1, *shape)), (copies, *shape))
    return xp.reshape(whole, (copies * shape[0], *shape[1:]))


def _unit_errors(start: int, copies: int, rows: int, size: int, dtype: Any, ctx: Context) -> Array:
    """Return e_k for the outputs k from `start` on, each for all rows: (copies, rows, size)."""
    xp = ctx.xp
    units = xp.arange(start, start + copies, device=ctx.device)  # those beyond the last are zero
    one_hot = xp.astype(units[:, None] == xp.arange(size, device=ctx.device)[None, :], dtype)
    return xp.broadcast_to(xp.reshape(one_hot, (copies, 1, size)), (copies, rows, size))


def complete_gradient(dx: Tree, x: Tree, xp: Namespace) -> Tree:
    """Return derivatives nested like x: zeros in place of None, but None for indices."""
    if isinstance(x, dict):
        return {
            k: complete_gradient(None if dx is None else dx[k], part, xp) for k, part in x.items()
        }
    if isinstance(x, tuple):
        parts = [None] * len(x) if dx is None else dx
        return tuple(complete_gradient(part, each, xp) for part, each in zip(parts, x, strict=True))
    if not xp.isdtype(x.dtype, "real floating"):
        return None
    return xp.zeros_like(x) if dx is None else dx

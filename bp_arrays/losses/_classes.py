"""Targets that are class numbers, shared by the losses that take them."""

from __future__ import annotations

from bp_arrays.layers import Context
from bp_arrays.typing import Array


def counted_classes(t: Array, ignore_index: int | None) -> Array | None:
    """Return the mask of the targets that are not `ignore_index`; None if none is ignored."""
    return None if ignore_index is None else t != ignore_index


def is_class(t: Array, counted: Array | None, y: Array, ctx: Context) -> Array:
    """Return the mask of the output of the target class, of the shape of y.

    It is False for every class of a target that does not count.
    """
    xp = ctx.xp
    classes = xp.arange(y.shape[-1], dtype=t.dtype, device=ctx.device)
    is_target = xp.reshape(t, (*t.shape, 1)) == classes
    if counted is None:
        return is_target
    return xp.logical_and(is_target, xp.reshape(counted, (*t.shape, 1)))


def weights_of_counted(
    counted: Array | None, weight: Array | None, y: Array, ctx: Context
) -> Array | None:
    """Return the weights of positions, 0 where the target does not count."""
    if counted is None:
        return weight
    is_counted = ctx.xp.astype(counted, y.dtype)
    return is_counted if weight is None else is_counted * weight

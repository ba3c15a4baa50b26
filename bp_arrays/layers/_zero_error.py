"""Errors that are zero: δ is None where an output does not reach the loss."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import add
from typing import Any

from bp_arrays.trees import Tree, leaves
from bp_arrays.typing import Backward


def is_zero_error(delta: Tree) -> bool:
    """Return True if an error is None, or a tuple or dict of nothing else."""
    return next(leaves(delta), None) is None


def propagated(backward: Backward, delta: Tree) -> tuple[Tree, Any]:
    """Return `backward(delta)`; (None, None), which are zeros, if the error is zero.

    Examples
    --------
    >>> propagated(lambda delta: (2.0 * delta, {}), 3.0)
    (6.0, {})
    >>> propagated(lambda delta: (2.0 * delta, {}), None)
    (None, None)
    """
    return (None, None) if is_zero_error(delta) else backward(delta)


def total_error(errors: Iterable[Tree]) -> Tree:
    """Return the sum of errors of one array, or of one tuple or dict; None if all are zero.

    Examples
    --------
    >>> total_error([1.0, None, 2.0])
    3.0
    >>> total_error([{"x": 1.0, "mask": None}, {"x": 2.0, "mask": None}])
    {'x': 3.0, 'mask': None}
    """
    present = [error for error in errors if not is_zero_error(error)]
    return reduce(_sum, present) if present else None


def _sum(one: Tree, other: Tree) -> Tree:
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, dict):
        return {name: _sum(part, other[name]) for name, part in one.items()}
    if isinstance(one, tuple):
        return tuple(_sum(*pair) for pair in zip(one, other, strict=True))
    return add(one, other)

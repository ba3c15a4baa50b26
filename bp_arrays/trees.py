"""Trees of arrays: functions that accept one array, or a tuple or dict of arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Tree = Any
"""An array, None, or a tuple or dict of trees."""


def map_tree(function: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """Apply a function to every array of a tree and the arrays at the same position in others.

    None stays None; named tuples keep their class.

    Examples
    --------
    >>> map_tree(lambda a, b: a + b, {"x": 1, "y": (2, None)}, {"x": 10, "y": (20, None)})
    {'x': 11, 'y': (22, None)}
    """
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {k: map_tree(function, part, *(o[k] for o in others)) for k, part in tree.items()}
    if isinstance(tree, tuple):
        parts = [map_tree(function, *each) for each in zip(tree, *others, strict=True)]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return function(tree, *others)


def leaves(tree: Tree) -> Iterator[Any]:
    """Yield the arrays of a tree in order.

    Examples
    --------
    >>> list(leaves({"x": 1, "y": (2, None)}))
    [1, 2]
    """
    if isinstance(tree, dict):
        for part in tree.values():
            yield from leaves(part)
    elif isinstance(tree, tuple):
        for part in tree:
            yield from leaves(part)
    elif tree is not None:
        yield tree

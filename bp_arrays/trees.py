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


def is_shape(shape: Tree) -> bool:
    """Return True for the shape of one array, a tuple of integers; False for a tree of shapes.

    Examples
    --------
    >>> is_shape((28, 28)), is_shape(()), is_shape(((3,), (4,))), is_shape({"x": (3,)})
    (True, True, False, False)
    """
    return isinstance(shape, tuple) and not any(isinstance(n, (tuple, dict)) for n in shape)


def map_shapes(function: Callable[..., Any], shapes: Tree) -> Tree:
    """Apply a function to every shape of a tree of shapes.

    Examples
    --------
    >>> map_shapes(len, {"x": (3, 4), "y": ((5,), ())})
    {'x': 2, 'y': (1, 0)}
    """
    if is_shape(shapes):
        return function(shapes)
    if isinstance(shapes, dict):
        return {name: map_shapes(function, part) for name, part in shapes.items()}
    return tuple(map_shapes(function, part) for part in shapes)


def described_tree(tree: Tree) -> str:
    """Describe a tree of arrays or shapes in words.

    Examples
    --------
    >>> described_tree({"x": (3,), "y": (4,)}), described_tree(((3,), (4,))), described_tree((3,))
    ('a dict of x, y', 'a tuple of 2', 'one array')
    """
    if isinstance(tree, dict):
        return f"a dict of {', '.join(map(str, tree))}"
    if isinstance(tree, tuple) and not is_shape(tree):
        return f"a tuple of {len(tree)}"
    return "one array"

"""Transformer blocks as the chains that they are, so that their parts become stages.

A `TransformerBlock` is h = x + attention(norm(x)), y = h + f(norm(h)): two residual blocks. Its
`FeedForward` f is a product, an activation and a product.
"""

from __future__ import annotations

from bp_arrays.attention import FeedForward, TransformerBlock
from bp_arrays.explanation._visited import Visited
from bp_arrays.layers import Linear, Residual, Sequential


def open_blocks(visited: Visited) -> None:
    """Replace the parts of transformer blocks, at any depth, by parts that follow each other."""
    for part in visited.parts:
        open_blocks(part)
    if isinstance(visited.layer, FeedForward):
        visited.parts = _products(visited)
    elif isinstance(visited.layer, TransformerBlock) and not isinstance(visited.x, dict):
        visited.parts = _halves(visited)


def _products(visited: Visited) -> list[Visited]:
    """Return the product, the activation and the product of a `FeedForward`."""
    [activation] = visited.parts
    up, down = (
        Visited(Linear(y.shape[-1]), _inside(visited, name), visited.params[name], x, y)
        for name, x, y in (
            ("up", visited.x, activation.x),
            ("down", activation.y, visited.y),
        )
    )
    return [up, activation, down]


def _halves(visited: Visited) -> list[Visited]:
    """Return the two residual blocks of a `TransformerBlock`."""
    second = [part.path for part in visited.parts].index(_inside(visited, "norm2"))
    halves = []
    x, y = visited.x, visited.parts[second].x
    for parts in (visited.parts[:second], visited.parts[second:]):
        f = Sequential(*(part.layer for part in parts))
        body = Visited(f, visited.path, visited.params, x, parts[-1].y, parts=parts)
        halves.append(Visited(Residual(f), visited.path, visited.params, x, y, parts=[body]))
        x, y = y, visited.y
    return halves


def _inside(visited: Visited, name: str) -> str:
    return f"{visited.path}.{name}" if visited.path else name

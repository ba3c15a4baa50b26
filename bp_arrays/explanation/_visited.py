"""`Visited`: the layers of a net, each with the arrays that it took and gave for one sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from bp_arrays.explanation._stages import Vector
from bp_arrays.layers import Context, Layer, Sequential
from bp_arrays.typing import Backward, ParameterTree


@dataclass
class Visited:
    """One layer with the arrays that it took and gave, and the layers in it.

    Parameters
    ----------
    layer : Layer
    path : str
    params : nested dict of arrays
    x, y : arrays (1, *shape)
    delta : array (1, *shape) or None
        ∂L/∂y as the layers' backward gives it, once the error has come back.
    parts : list of Visited
        In the order in which they ran.
    """

    layer: Layer
    path: str
    params: ParameterTree
    x: Vector
    y: Vector
    delta: Vector | None = None
    parts: list[Visited] = field(default_factory=list)

    @property
    def is_chain(self) -> bool:
        """Whether it is nothing but its parts, one after the other."""
        passed = self.x
        for part in self.parts:
            if part.x is not passed:
                return False
            passed = part.y
        return passed is self.y and (len(self.parts) > 0 or isinstance(self.layer, Sequential))

    @property
    def inner(self) -> Iterator[Visited]:
        """The layers in it that are more than a chain, outer before inner."""
        for part in self.parts:
            if not part.is_chain:
                yield part
            yield from part.inner


def follow(
    net: Layer, params: ParameterTree, x: Vector, context: Context
) -> tuple[Visited, Backward]:
    """Send a sample (1, *input_shape) through a net: what was visited, and the way back."""
    outer: list[list[Visited]] = [[]]

    def visit(layer: Layer, own: ParameterTree, x: Vector, ctx: Context) -> tuple[Vector, Backward]:
        outer.append([])
        y, layer_backward = layer.forward(own, x, ctx)
        visited = Visited(layer, ".".join(ctx.path), own, x, y, parts=outer.pop())
        outer[-1].append(visited)

        def backward(delta: Vector) -> tuple[Vector, ParameterTree]:
            visited.delta = delta
            return layer_backward(delta)

        return y, backward

    _, backward = replace(context, visit=visit).forward("", net, params, x)
    [[root]] = outer
    return root, backward

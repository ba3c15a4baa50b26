"""The one walk over a tree of layers: which layer stands where, its shapes, its parameters.

A container tells its parts by `parts()`. What goes into each of them it need not tell: its `init`
asks each part's `init` for that very shape, and the walk listens.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bp_arrays.errors import InputError
from bp_arrays.layers._layer import Layer, Specification
from bp_arrays.typing import Shape


@dataclass(frozen=True)
class Node:
    """One layer in a tree of layers.

    Parameters
    ----------
    path : str
        Where it stands, "2.left.0"; the names of its parameters begin with it. "" for the root.
    layer : Layer
    input_shape, output_shape : tuple of int or None
        Of one sample; None if unknown: the walk was given none, or a container does not ask the
        part's `init`.
    parameters : dict of str to Parameter
        Its own, without those of its parts; empty if the walk was given no shape.
    parts : tuple of str
        The names of its parts; empty for a layer that is no container.
    """

    path: str
    layer: Layer
    input_shape: Shape | None
    output_shape: Shape | None
    parameters: Specification
    parts: tuple[str, ...]


def walk(net: Layer, input_shape: Shape | None = None) -> Iterator[Node]:
    """Yield every layer of a tree, a container before its parts, in the order of `parts()`.

    Parameters
    ----------
    net : Layer
    input_shape : tuple of int, optional
        Of one sample; without it the shapes and the parameters are left out.

    Raises
    ------
    InputError
        If `parts()` of a layer gives something else than layers by name, or the layers do not fit
        the shape.

    Examples
    --------
    >>> from bp_arrays import Linear, Sequential, Tanh
    >>> for node in walk(Sequential(Linear(3), Tanh()), (2,)):
    ...     print(node.path or "net", type(node.layer).__name__, node.output_shape)
    net Sequential (3,)
    0 Linear (3,)
    1 Tanh (3,)
    """
    if input_shape is None:
        yield from _walk("", net, None, None, {})
    else:
        specification, output_shape = net.init(input_shape)
        yield from _walk("", net, input_shape, output_shape, specification)


def _walk(
    path: str,
    layer: Layer,
    input_shape: Shape | None,
    output_shape: Shape | None,
    specification: Specification,
) -> Iterator[Node]:
    parts = _parts(layer)
    own = {} if "" in parts else {k: v for k, v in specification.items() if k not in parts}
    yield Node(path, layer, input_shape, output_shape, own, tuple(parts))
    if not parts:
        return
    shapes = {} if input_shape is None else _part_shapes(layer, input_shape)
    for name, part in parts.items():
        into, out_of = shapes.get(name, (None, None))
        inner = specification.get(name, {}) if name else specification
        yield from _walk(
            f"{path}.{name}" if path and name else path or name, part, into, out_of, inner
        )


def _parts(layer: Layer) -> Mapping[str, Layer]:
    parts = layer.parts()
    if not isinstance(parts, Mapping) or not all(isinstance(p, Layer) for p in parts.values()):
        raise InputError(
            f"{type(layer).__name__}.parts(): expected a dict of layers by name, got {parts!r:.80}"
        )
    return parts


def _part_shapes(container: Layer, input_shape: Shape) -> dict[str, tuple[Shape, Shape]]:
    """The input and output shape of each part, as the container's own `init` asks for them.

    The `init` runs on a copy whose parts are copies that note what they are asked.
    """
    try:
        listening = copy.copy(container)
        for name, value in vars(container).items():
            object.__setattr__(listening, name, _listening(value))
        parts = {
            name: part if hasattr(part, "_asked") else _listening(part)
            for name, part in listening.parts().items()
        }
        object.__setattr__(listening, "parts", lambda: parts)  # those made anew by each call too
    except (AttributeError, TypeError):  # a class with __slots__
        return {}
    listening.init(input_shape)
    return {name: part._asked[-1] for name, part in parts.items() if part._asked}


def _listening(value: Any) -> Any:
    """The same value; each layer in it a copy that keeps the shapes that its `init` sees."""
    if isinstance(value, tuple):
        return tuple(_listening(each) for each in value)
    if isinstance(value, dict):
        return {key: _listening(each) for key, each in value.items()}
    if not isinstance(value, Layer):
        return value
    asked: list[tuple[Shape, Shape]] = []

    def init(input_shape: Shape) -> tuple[Specification, Shape]:
        specification, output_shape = value.init(input_shape)
        asked.append((input_shape, output_shape))
        return specification, output_shape

    listening = copy.copy(value)
    object.__setattr__(listening, "init", init)
    object.__setattr__(listening, "_asked", asked)
    return listening

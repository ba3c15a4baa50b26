"""`walk`: every layer of a tree, with its path, shapes and parameters.

A container names its parts in `parts()`. The shapes of their inputs need not be declared: the walk
runs the container's `init` on a copy whose parts record the shapes passed to their own `init`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bp_arrays.errors import InputError
from bp_arrays.layers._layer import Layer, Specification
from bp_arrays.trees import Tree


@dataclass(frozen=True)
class Node:
    """One layer in a tree of layers.

    Parameters
    ----------
    path : str
        Its path in the tree, such as "2.left.0", with which the names of its parameters begin;
        "" for the root.
    layer : Layer
    input_shape, output_shape : tuple of int, tuple or dict of them, or None
        Of one sample; None if unknown: in a walk without `input_shape`, or if the container does
        not call the part's `init`.
    parameters : dict of str to Parameter
        Its own parameters, without those of its parts; empty in a walk without `input_shape`.
    parts : tuple of str
        The names of its parts; empty for a layer that is not a container.
    """

    path: str
    layer: Layer
    input_shape: Tree
    output_shape: Tree
    parameters: Specification
    parts: tuple[str, ...]


def walk(net: Layer, input_shape: Tree = None) -> Iterator[Node]:
    """Yield every layer of a tree, a container before its parts, in the order of `parts()`.

    Parameters
    ----------
    net : Layer
    input_shape : tuple of int, or tuple or dict of them, optional
        Of one sample; without it the nodes have no shapes and no parameters.

    Raises
    ------
    InputError
        If `parts()` of a layer is not a dict of layers by name, or the layers do not fit the
        shape.

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
    input_shape: Tree,
    output_shape: Tree,
    specification: Specification,
) -> Iterator[Node]:
    parts = _parts(layer)
    parameters = {} if "" in parts else {k: v for k, v in specification.items() if k not in parts}
    yield Node(path, layer, input_shape, output_shape, parameters, tuple(parts))
    if not parts:
        return
    shapes = {} if input_shape is None else _part_shapes(layer, input_shape)
    for name, part in parts.items():
        part_input, part_output = shapes.get(name, (None, None))
        part_specification = specification.get(name, {}) if name else specification
        part_path = f"{path}.{name}" if path and name else path or name
        yield from _walk(part_path, part, part_input, part_output, part_specification)


def _parts(layer: Layer) -> Mapping[str, Layer]:
    parts = layer.parts()
    if not isinstance(parts, Mapping) or not all(isinstance(p, Layer) for p in parts.values()):
        raise InputError(
            f"{type(layer).__name__}.parts(): expected a dict of layers by name, got {parts!r:.80}"
        )
    return parts


def _part_shapes(container: Layer, input_shape: Tree) -> dict[str, tuple[Tree, Tree]]:
    """Return the input and output shape of each part, as recorded from the container's `init`."""
    try:
        recorder = copy.copy(container)
        for name, value in vars(container).items():
            object.__setattr__(recorder, name, _recording(value))
        parts = {
            name: part if hasattr(part, "_recorded_shapes") else _recording(part)
            for name, part in recorder.parts().items()
        }
        # parts() may build its layers at each call: always return the recording ones
        object.__setattr__(recorder, "parts", lambda: parts)
    except (AttributeError, TypeError):  # a class with __slots__
        return {}
    recorder.init(input_shape)
    return {
        name: part._recorded_shapes[-1] for name, part in parts.items() if part._recorded_shapes
    }


def _recording(value: Any) -> Any:
    """Return a copy of a field in which each layer records the shapes of its `init`."""
    if isinstance(value, tuple):
        return tuple(_recording(each) for each in value)
    if isinstance(value, dict):
        return {key: _recording(each) for key, each in value.items()}
    if not isinstance(value, Layer):
        return value
    shapes: list[tuple[Tree, Tree]] = []

    def init(input_shape: Tree) -> tuple[Specification, Tree]:
        specification, output_shape = value.init(input_shape)
        shapes.append((input_shape, output_shape))
        return specification, output_shape

    recorder = copy.copy(value)
    object.__setattr__(recorder, "init", init)
    object.__setattr__(recorder, "_recorded_shapes", shapes)
    return recorder

"""`check_index_inputs`: refuse indices as the input of layers that compute with numbers."""

from __future__ import annotations

from bp_arrays.activations import Identity
from bp_arrays.checks import array_error
from bp_arrays.layers import Ensemble, IndexShape, Layer, Node, Select, walk
from bp_arrays.trees import Tree, is_shape

PASSING_ON = (Ensemble, Identity, Select)
"""Layers of the library without parts that return their input, or a part of it, as it is; the nets
of an Ensemble compute with it, and are not parts."""


def check_index_inputs(net: Layer, shapes: Tree) -> None:
    """Raise InputError if a layer of the library computes with indices as if they were numbers.

    NumPy would promote them, to float64, and PyTorch fail. Custom layers may take both.
    """
    if not _has_indices(shapes):
        return
    for node in walk(net, shapes):
        if _computes_with_numbers(node) and _has_indices(_numbers(node.input_shape)):
            at = f", layer {node.path}" if node.path else ""
            raise array_error(
                type(node.layer).__name__,
                "input",
                "numbers",
                f"indices{at}",
                "look them up with Embedding(...), or declare the input as InputSpec(shape)",
            )


def _computes_with_numbers(node: Node) -> bool:
    library = __name__.partition(".")[0]
    return (
        not node.parts
        and node.layer.index_size is None
        and not isinstance(node.layer, PASSING_ON)
        and type(node.layer).__module__.partition(".")[0] == library
    )


def _numbers(shape: Tree) -> Tree:
    """Return the part of an input that a layer computes with: not the lengths beside "x"."""
    return shape["x"] if isinstance(shape, dict) and "x" in shape else shape


def _has_indices(shapes: Tree) -> bool:
    if is_shape(shapes):
        return isinstance(shapes, IndexShape)
    parts = shapes.values() if isinstance(shapes, dict) else shapes
    return any(_has_indices(part) for part in parts)

"""Cases of the layers of several inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from bp_arrays.activations import Identity, Tanh
from bp_arrays.layers import Add, Concatenate, Layer, Linear, Multiply, Parallel, Select
from bp_arrays.testing._case import DTYPES_WITH_HALF, Case
from bp_arrays.testing.cases._inputs import normal
from bp_arrays.testing.cases._layer import layer_case
from bp_arrays.testing.witnesses import _graphs as witness
from bp_arrays.testing.witnesses._witness import HostArrays, formula
from bp_arrays.trees import Tree, map_shapes
from bp_arrays.typing import Shape

Values = Callable[[HostArrays], HostArrays]

NAMED = {"left": (5, 4), "right": (5, 2), "rest": (5, 3)}

GRAPHS: tuple[tuple[Layer, str, Tree, Values], ...] = (
    (Parallel(left=Linear(3), right=Tanh()), "named", NAMED, witness.two_inputs),
    (Parallel(Linear(3), Identity()), "fan-out", (5, 4), witness.fan_out),
    (Select("right"), "named", NAMED, partial(witness.selected, "right")),
    (Select(-1), "tuple", ((1, 4), (1, 2)), partial(witness.selected, "1")),
    (Concatenate(), "named", NAMED, partial(witness.concatenated, 1)),
    (Concatenate(1), "sequences", ((2, 3, 4), (2, 1, 4)), partial(witness.concatenated, 1)),
    (Concatenate(-2), "batch of 1", ((1, 3, 2), (1, 2, 2)), partial(witness.concatenated, 1)),
    (Add(), "ordinary", ((5, 4), (5, 4), (5, 4)), witness.added),
    (Add(), "batch of 1", {"a": (1, 3), "b": (1, 3)}, witness.added),
    (Multiply(), "ordinary", ((5, 4), (5, 4), (5, 4)), witness.multiplied),
    (Multiply(), "batch of 1", {"a": (1, 2, 3), "b": (1, 2, 3)}, witness.multiplied),
)
"""A layer, the variant, the shapes of its inputs, and the witness."""


def graph_cases() -> Iterator[Case]:
    """Yield the cases of every layer."""
    for layer, variant, shapes, values in GRAPHS:
        yield layer_case(
            layer,
            partial(_drawn, type(layer).__name__, variant, shapes),
            variant,
            analytic=True,
            witnesses=formula(values),
            dtypes=DTYPES_WITH_HALF,
        )
    yield layer_case(
        Parallel(Linear(3), Linear(2)),
        partial(_drawn, "Parallel", "unused output", (5, 4)),
        "unused output",
        analytic=True,
        delta=lambda drawn: (drawn[0], None),
        witnesses=formula(witness.unused_output),
    )
    yield layer_case(
        Multiply(),
        partial(_with_zeros, "Multiply", "zeros", ((5, 4), (5, 4))),
        "zeros",
        analytic=True,
        witnesses=formula(witness.multiplied),
    )


def _drawn(component: str, variant: str, shapes: Tree) -> Tree:
    """Draw an array of each shape."""
    numbers = iter(range(100))

    def draw(shape: Shape) -> Any:
        return normal(component, variant, "x", next(numbers), shape=shape)

    return map_shapes(draw, shapes)


def _with_zeros(component: str, variant: str, shapes: Tree) -> Tree:
    """Draw arrays whose numbers are 0 in half of the places, in both in a quarter."""
    one, other = _drawn(component, variant, shapes)
    columns = np.arange(one.shape[1])
    return np.where(columns % 2 == 0, 0.0, one), np.where(columns < 2, 0.0, other)

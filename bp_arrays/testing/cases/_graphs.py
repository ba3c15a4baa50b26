"""Cases of the layers of several inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from bp_arrays.activations import Identity, Tanh
from bp_arrays.layers import (
    Add,
    Concatenate,
    Ensemble,
    Layer,
    Linear,
    Multiply,
    Parallel,
    Residual,
    Select,
    Sequential,
)
from bp_arrays.losses import CombinedLoss, CrossEntropy, EnsembleLoss, L2Loss, MeanSquaredError
from bp_arrays.testing._case import DTYPES_WITH_HALF, Case, Derivatives
from bp_arrays.testing._placement import Placement
from bp_arrays.testing.cases._inputs import normal
from bp_arrays.testing.cases._layer import flat_tree, layer_case, loss_case
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
    (Ensemble(Sequential(Linear(3), Tanh()), 2), "ordinary", (5, 4), witness.members),
    (Ensemble(Sequential(Linear(2), Tanh()), 3), "batch of 1", (1, 3), witness.members),
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
        Ensemble(Sequential(Residual(Linear(4)), Tanh(), Linear(2)), 2),
        partial(_drawn, "Ensemble", "one by one", (2, 3, 4)),
        "one by one",
        analytic=True,
        witnesses=formula(witness.members_one_by_one),
        dtypes=DTYPES_WITH_HALF,
    )
    yield layer_case(
        Multiply(),
        partial(_with_zeros, "Multiply", "zeros", ((5, 4), (5, 4))),
        "zeros",
        analytic=True,
        witnesses=formula(witness.multiplied),
    )


def ensemble_loss_cases() -> Iterator[Case]:
    """Yield the cases of the sum over members: means and sums, with weights and without."""
    for variant in ("mean", "weighted mean", "weighted sum", "weighted members, mean"):
        reduction = variant.split()[-1]
        yield loss_case(
            EnsembleLoss(MeanSquaredError(reduction=reduction)),
            partial(_outputs_of_members, variant),
            variant,
            analytic=True,
            witnesses=formula(partial(witness.loss_of_members, reduction)),
            dtypes=DTYPES_WITH_HALF,
        )


def _outputs_of_members(variant: str) -> HostArrays:
    arrays = {
        name: normal("EnsembleLoss", variant, name, shape=shape)
        for name, shape in {"y": (5, 3, 2), "t": (5, 2)}.items()
    }
    if "weighted" in variant:
        shape = (5, 3) if "members" in variant else (5,)
        arrays["weight"] = np.abs(normal("EnsembleLoss", variant, "weight", shape=shape))
    return arrays


FACTORS = {"kind": 0.75, "size": 2.0}


def combined_loss_cases() -> Iterator[Case]:
    """Yield the cases of a loss for each of two outputs, beside an output without one."""
    for reduction in ("mean", "sum"):
        loss = CombinedLoss(
            {"kind": CrossEntropy(reduction=reduction), "size": L2Loss(reduction=reduction)},
            weights=FACTORS,
        )
        for variant in (reduction, f"weighted {reduction}"):
            yield Case(
                "CombinedLoss",
                variant,
                "loss",
                partial(_outputs, variant),
                partial(_loss_and_errors, loss),
                wide=frozenset({"value"}),
                derivatives=Derivatives(
                    partial(_loss_value, loss), {f"dy.{name}": f"y.{name}" for name in FACTORS}
                ),
                witnesses=formula(partial(witness.combined_loss, reduction, FACTORS)),
                dtypes=DTYPES_WITH_HALF,
            )


def _outputs(variant: str) -> HostArrays:
    """Draw three outputs, and targets for two of them."""
    y = {
        name: normal("CombinedLoss", variant, f"y {name}", shape=(5, n))
        for name, n in {"kind": 3, "size": 2, "rest": 4}.items()
    }
    t = {"kind": np.arange(5) % 3, "size": y["size"] - 2e-3}
    arrays = flat_tree("y", y) | flat_tree("t", t)
    if "weighted" in variant:
        arrays["weight"] = np.abs(normal("CombinedLoss", variant, "weight", shape=(5,)))
    return arrays


def _loss_of(loss: CombinedLoss, placement: Placement, arrays: dict[str, Any]) -> Any:
    y = {name: arrays[f"y.{name}"] for name in ("kind", "size", "rest")}
    t = {name: arrays[f"t.{name}"] for name in ("kind", "size")}
    return loss.forward(y, t, placement.context(), arrays.get("weight"))


def _loss_value(loss: CombinedLoss, placement: Placement, arrays: dict[str, Any]) -> Any:
    return _loss_of(loss, placement, arrays)[0]


def _loss_and_errors(
    loss: CombinedLoss, placement: Placement, arrays: dict[str, Any]
) -> dict[str, Any]:
    value, backward = _loss_of(loss, placement, arrays)
    errors = backward()
    zeros = placement.xp.zeros_like(arrays["y.rest"])
    errors["rest"] = zeros if errors["rest"] is None else errors["rest"]
    return {"value": value} | flat_tree("dy", errors)


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

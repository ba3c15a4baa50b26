"""Cases of the layers of `normalization`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from bp_arrays.layers import Context, Layer, Specification
from bp_arrays.normalization import BatchNorm, GroupNorm, LayerNorm, RMSNorm
from bp_arrays.testing._case import DEFAULT_LIMIT, DTYPES, DTYPES_WITH_HALF, Case
from bp_arrays.testing._placement import HostArrays, Placement
from bp_arrays.testing.cases._inputs import extremes, normal
from bp_arrays.testing.cases._layer import layer_case, parameter_tree
from bp_arrays.testing.witnesses._normalization import normalization_values, running_values
from bp_arrays.testing.witnesses._witness import formula
from bp_arrays.typing import Array, Backward, HostArray, ParameterTree, Shape

MOMENTUM = 0.3

POSITIONS = {
    "ordinary": (5, 4),
    "batch of 1": (1, 2, 5),
    "one feature": (6, 1),
    "odd sizes": (3, 5, 7),
    "large reduction": (1000, 3),
    "no parameters": (5, 4),
    "prediction": (5, 4),
}
"""(batch, ..., features) of each variant."""

IMAGES = {
    "ordinary": (2, 3, 4),
    "batch of 1": (1, 2, 2, 6),
    "one feature": (3, 4, 1),
    "odd sizes": (3, 5, 3, 6),
    "large reduction": (2, 500, 4),
    "no parameters": (2, 3, 4),
}
"""(batch, ..., channels) of the layers whose averages run over positions."""

LIMITS = {"large reduction": 64.0}

LAYERS: dict[str, tuple[Layer, Layer, dict[str, Shape]]] = {
    "LayerNorm": (LayerNorm(), LayerNorm(scale=False, bias=False), POSITIONS),
    "RMSNorm": (RMSNorm(), RMSNorm(scale=False), POSITIONS),
    "BatchNorm": (
        BatchNorm(MOMENTUM),
        BatchNorm(MOMENTUM, scale=False, bias=False),
        POSITIONS | {"batch of 1": (1, 2, 2, 3)},
    ),
    "GroupNorm": (GroupNorm(2), GroupNorm(2, scale=False, bias=False), IMAGES),
}
"""Each layer with its parameters and without, and the shapes of its inputs."""


@dataclass(frozen=True)
class InPrediction(Layer):
    """A layer as it is in prediction, in a case that trains."""

    layer: Layer

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        return self.layer.init(input_shape)

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        return self.layer.forward(params, x, replace(ctx, training=False))


def normalization_cases() -> Iterator[Case]:
    """Yield the cases of every layer; those of BatchNorm have its running values among theirs."""
    for name, (layer, plain, shapes) in LAYERS.items():
        for variant in (*shapes, "non-contiguous", "extreme values"):
            in_prediction = variant == "prediction"
            if in_prediction and name != "BatchNorm":
                continue
            if variant == "no parameters":
                chosen = plain
            elif in_prediction:
                chosen = InPrediction(layer)
            elif name == "GroupNorm" and variant == "one feature":
                chosen = GroupNorm(1)
            else:
                chosen = layer
            case = layer_case(
                chosen,
                partial(_input, name, variant, shapes),
                variant,
                component=name,
                limit=LIMITS.get(variant, DEFAULT_LIMIT),
                analytic=True,
                oracle=variant not in ("large reduction", "extreme values"),
                witnesses=formula(partial(normalization_values, name, in_prediction=in_prediction)),
                dtypes=DTYPES_WITH_HALF if variant in ("ordinary", "odd sizes") else DTYPES,
            )
            # the means of the extreme values cancel: no digit of theirs is right
            if chosen == BatchNorm(MOMENTUM) and variant != "extreme values":
                case = _with_state(case, layer)
            yield case


def _with_state(case: Case, layer: Layer) -> Case:
    """Return the case with the new running values of the layer among its results."""

    def compute(placement: Placement, arrays: dict[str, Array]) -> dict[str, Array]:
        updates: dict[tuple[str, ...], Array] = {}
        ctx = replace(placement.context(), state_updates=updates)
        layer.forward(parameter_tree(arrays), arrays["x"], ctx)
        return case.compute(placement, arrays) | {path[-1]: v for path, v in updates.items()}

    def running(inputs: HostArrays) -> HostArrays:
        return running_values(inputs, MOMENTUM)

    return replace(
        case,
        compute=compute,
        wide=frozenset({"mean", "variance"}),
        witnesses=(*case.witnesses, *formula(running)),
    )


def _input(name: str, variant: str, shapes: dict[str, Shape]) -> HostArray:
    """Return the input of a case."""
    if variant == "extreme values":
        return extremes(4)[None] if name == "GroupNorm" else extremes(3)
    if variant == "non-contiguous":
        shape = (8, 3, 2) if name == "GroupNorm" else (8, 5)
        return normal(name, variant, "x", shape=shape).T[..., ::2]
    # of one feature, only ε is left of the slope of RMSNorm: numbers of the size of its root
    scale = 3e-3 if variant == "one feature" else 1.0
    return normal(name, variant, "x", shape=shapes[variant], scale=scale)

"""Cases of the layers of `recurrence`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from bp_arrays.layers import IndexShape
from bp_arrays.random import host_generator
from bp_arrays.recurrence import GRU, LSTM, RNN
from bp_arrays.testing._case import (
    DTYPES,
    DTYPES_WITH_HALF,
    GRADIENT,
    PARAMETER,
    Case,
    Derivatives,
)
from bp_arrays.testing._placement import HostArrays, Placement
from bp_arrays.testing.cases._inputs import normal
from bp_arrays.testing.cases._layer import parameter_tree
from bp_arrays.testing.witnesses._recurrence import recurrent_values
from bp_arrays.testing.witnesses._witness import formula
from bp_arrays.typing import Array, Backward, HostArray

DELTA = "delta "
"""Prefix of the errors of the outputs among the inputs."""

WHOLE: HostArrays = {}
LENGTHS: HostArrays = {"lengths": np.array([3, 4, 0, 1])}
MASK: HostArrays = {"mask": np.array([[1.0, 0, 1, 1], [0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]])}


def recurrence_cases() -> Iterator[Case]:
    """Yield the cases of every layer."""
    yield _case(LSTM(3), (3, 4, 2), "ordinary", dtypes=DTYPES_WITH_HALF)
    yield _case(LSTM(2), (1, 1, 3), "batch of 1, one step")
    yield _case(LSTM(3, 2, last=True), (4, 4, 2), "two layers, mask, last", MASK)
    yield _case(
        LSTM(3, 2, True), (4, 4, 2), "two layers, both directions, lengths, states", LENGTHS,
        states=True,
    )  # fmt: skip
    yield _case(LSTM(2, 1, True, True), (4, 4, 3), "both directions, lengths, last", LENGTHS)
    yield _case(LSTM(2), (4, 4, 3), "lengths, states", LENGTHS, states=True)

    yield _case(GRU(3), (3, 4, 2), "ordinary", dtypes=DTYPES_WITH_HALF)
    yield _case(GRU(2, last=True), (4, 4, 3), "mask, last, states", MASK, states=True)
    yield _case(
        GRU(3, 2, True), (4, 4, 2), "two layers, both directions, lengths, states", LENGTHS,
        states=True,
    )  # fmt: skip

    yield _case(RNN(3), (3, 4, 2), "ordinary", dtypes=DTYPES_WITH_HALF)
    yield _case(RNN(3, activation="relu"), (3, 4, 2), "relu")
    yield _case(
        RNN(3, 2, True), (4, 4, 2), "two layers, both directions, lengths, states", LENGTHS,
        states=True,
    )  # fmt: skip


def _case(
    layer: Any,
    shape: tuple[int, int, int],
    variant: str,
    further: HostArrays = WHOLE,
    *,
    states: bool = False,
    dtypes: tuple[str, ...] = DTYPES,
) -> Case:
    """Build a case for an array x, or with lengths, a mask or states for a dict.

    The results are "y" and "dx", for states also "y h" and "d h", and the gradients.
    """
    component, batch = type(layer).__name__, shape[0]
    draw = partial(normal, component, variant)
    names = ("x", *further, *(layer.states if states else ()))
    shapes: dict[str, Any] = {name: array.shape[1:] for name, array in further.items()}
    shapes["x"] = shape[1:]
    if "lengths" in shapes:
        shapes["lengths"] = IndexShape((), shape[1] + 1)
    if states:
        count = layer.layers * (2 if layer.bidirectional else 1)
        state_shape = (layer.features,) if count == 1 else (count, layer.features)
        shapes |= dict.fromkeys(layer.states, state_shape)
    is_dict = len(names) > 1
    specification, output_shapes = layer.init(shapes if is_dict else shape[1:])
    errors = {"x": output_shapes["x"] if is_dict else output_shapes}
    if states:
        errors |= {name: output_shapes[name] for name in layer.states}

    def inputs() -> HostArrays:
        arrays = {name: draw(name, shape=(batch, *shapes[name])) for name in names} | further
        for name, parameter in specification.items():
            generator = host_generator(2026, "case", component, variant, name)
            drawn: HostArray = np.asarray(parameter.initializer.draw(parameter.shape, generator))
            # zeros would hide a factor: every number is another one
            arrays[PARAMETER + name] = drawn + generator.uniform(-0.3, 0.3, parameter.shape)
        for name, error_shape in errors.items():
            arrays[DELTA + name] = draw(DELTA + name, shape=(batch, *error_shape))
        return arrays

    def run(placement: Placement, arrays: dict[str, Array]) -> tuple[dict[str, Array], Backward]:
        x = {name: arrays[name] for name in names}
        y, backward = layer.forward(
            parameter_tree(arrays), x if is_dict else x["x"], placement.context()
        )
        return y if is_dict else {"x": y}, backward

    def compute(placement: Placement, arrays: dict[str, Array]) -> dict[str, Array]:
        y, backward = run(placement, arrays)
        delta = {name: arrays.get(DELTA + name) for name in names}
        dx, gradients = backward(delta if is_dict else delta["x"])
        dx = dx if is_dict else {"x": dx}
        results = {"y": y["x"], "dx": dx["x"]}
        for name in errors.keys() - {"x"}:
            results |= {f"y {name}": y[name], f"dx {name}": dx[name]}
        return results | {GRADIENT + name: gradient for name, gradient in gradients.items()}

    def objective(placement: Placement, arrays: dict[str, Array]) -> Array:
        y, _ = run(placement, arrays)
        terms = [placement.xp.sum(y[name] * arrays[DELTA + name]) for name in errors]
        return sum(terms[1:], terms[0])

    input_of = {"dx": "x"} | {f"dx {name}": name for name in errors.keys() - {"x"}}
    input_of |= {GRADIENT + name: PARAMETER + name for name in specification}
    witness_name = "RNN, relu" if getattr(layer, "activation", "") == "relu" else component
    settings = (layer.features, layer.layers, layer.bidirectional, layer.last)
    return Case(
        component,
        variant,
        "layer",
        inputs,
        compute,
        derivatives=Derivatives(objective, input_of, analytic=witness_name != "RNN, relu"),
        witnesses=formula(partial(recurrent_values, witness_name, *settings)),
        dtypes=dtypes,
    )

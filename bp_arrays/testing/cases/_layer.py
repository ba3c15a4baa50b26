"""Cases of a layer or a loss: forward, backward, and the function for the oracles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.layers import IndexShape, Layer, Parameter, Specification
from bp_arrays.losses import Loss
from bp_arrays.random import host_generator
from bp_arrays.testing._case import DEFAULT_LIMIT, DTYPES, GRADIENT, PARAMETER, Case, Derivatives
from bp_arrays.testing._placement import HostArrays, Placement
from bp_arrays.testing.cases._inputs import normal
from bp_arrays.testing.witnesses import Witness
from bp_arrays.typing import Array, Backward, HostArray, ParameterTree


def layer_case(
    layer: Layer,
    x: Callable[[], HostArray | HostArrays],
    variant: str,
    *,
    component: str | None = None,
    kind: str = "layer",
    limit: float = DEFAULT_LIMIT,
    analytic: bool = False,
    exact: frozenset[str] = frozenset(),
    oracle: bool = True,
    delta: Callable[[HostArray], HostArray] = lambda drawn: drawn,
    witnesses: tuple[Witness, ...] = (),
    dtypes: tuple[str, ...] = DTYPES,
) -> Case:
    """Build a case of forward and backward of a layer in training, for an input and an error δ.

    `x` returns an array, or the dict of a sequence: "x" with a mask or lengths. Integers are
    indices. `delta` changes the δ that is drawn.
    The results are "y", "dx" unless x is indices, and "d name" for every trainable parameter.
    """
    component = component or type(layer).__name__

    def inputs() -> HostArrays:
        values = x()
        specification, output_shape = layer.init(_sample_shapes(values))
        arrays = _named(values)
        for path, parameter in _flat(specification):
            generator = host_generator(2026, "case", component, variant, path)
            drawn = np.asarray(parameter.initializer.draw(parameter.shape, generator))
            # Zeros and ones would hide a factor: every parameter gets distinct values.
            arrays[PARAMETER + path] = drawn + 0.1 * generator.uniform(1, 2, parameter.shape)
        if isinstance(output_shape, dict):
            output_shape = output_shape["x"]
        shape = (arrays["x"].shape[0], *output_shape)
        arrays["delta"] = delta(normal(component, variant, "delta", shape=shape))
        return arrays

    def run(placement: Placement, arrays: dict[str, Array]) -> tuple[Array, Backward]:
        returned = layer.forward(parameter_tree(arrays), _input(arrays), placement.context())
        y, backward = _two(returned, "forward must return (output, backward)")
        if isinstance(y, dict):
            y, backward = y["x"], _of_sequence(y, backward)
        expected, shape = tuple(arrays["delta"].shape), tuple(y.shape)
        if shape != expected:
            raise InputError(f"y: expected shape {expected}, as returned by init, got {shape}")
        return y, backward

    def compute(placement: Placement, arrays: dict[str, Array]) -> dict[str, Array]:
        y, backward = run(placement, arrays)
        returned = backward(arrays["delta"])
        dx, gradients = _two(returned, "backward must return (dx, gradients by name)")
        results = {"y": y} if dx is None else {"y": y, "dx": dx}
        return results | {GRADIENT + path: gradient for path, gradient in _flat_arrays(gradients)}

    def objective(placement: Placement, arrays: dict[str, Array]) -> Array:
        y, _ = run(placement, arrays)
        return placement.xp.sum(y * arrays["delta"])

    values = x()
    trainable = [path for path, p in _flat(layer.init(_sample_shapes(values))[0]) if p.trainable]
    input_of = {GRADIENT + path: PARAMETER + path for path in trainable}
    if _named(values)["x"].dtype.kind == "f":
        input_of["dx"] = "x"
    derivatives = Derivatives(objective, input_of, analytic) if oracle else None
    return Case(
        component,
        variant,
        kind,
        inputs,
        compute,
        limit,
        exact=exact,
        derivatives=derivatives,
        witnesses=witnesses,
        dtypes=dtypes,
    )


def loss_case(
    loss: Loss,
    inputs: Callable[[], HostArrays],
    variant: str,
    *,
    component: str | None = None,
    limit: float = DEFAULT_LIMIT,
    analytic: bool = False,
    oracle: bool = True,
    witnesses: tuple[Witness, ...] = (),
    dtypes: tuple[str, ...] = DTYPES,
) -> Case:
    """Build a case of value and gradient of a loss for outputs "y", targets "t", any "weight"."""

    def compute(placement: Placement, arrays: dict[str, Array]) -> dict[str, Array]:
        value, backward = loss.forward(
            arrays["y"], arrays["t"], placement.context(), arrays.get("weight")
        )
        return {"value": value, "dy": backward()}

    def objective(placement: Placement, arrays: dict[str, Array]) -> Array:
        return loss.forward(arrays["y"], arrays["t"], placement.context(), arrays.get("weight"))[0]

    derivatives = Derivatives(objective, {"dy": "y"}, analytic) if oracle else None
    return Case(
        component or type(loss).__name__,
        variant,
        "loss",
        inputs,
        compute,
        limit,
        wide=frozenset({"value"}),
        derivatives=derivatives,
        witnesses=witnesses,
        dtypes=dtypes,
    )


SEQUENCE = ("lengths", "mask")
"""Entries of the dict of a sequence in addition to "x"."""


def _named(values: HostArray | HostArrays) -> HostArrays:
    """Return the inputs of a case: "x", and "lengths" or "mask"."""
    return dict(values) if isinstance(values, dict) else {"x": values}


def _sample_shapes(values: HostArray | HostArrays) -> Any:
    """Return the shape of one sample as `Layer.init` expects it, without the batch."""
    if isinstance(values, dict):
        return {name: _sample_shapes(part) for name, part in values.items()}
    shape = values.shape[1:]
    return IndexShape(shape) if values.dtype.kind == "i" else shape


def _input(arrays: dict[str, Array]) -> Any:
    """Return x from the inputs of a case: an array, or the dict of a sequence."""
    entries = {name: arrays[name] for name in ("x", *SEQUENCE) if name in arrays}
    return entries if len(entries) > 1 else arrays["x"]


def _of_sequence(y: dict[str, Array], backward: Backward) -> Backward:
    """Return the backward by the entry "x" alone."""

    def of_array(delta: Array) -> tuple[Array, ParameterTree]:
        dx, gradients = backward({**dict.fromkeys(y), "x": delta})
        return dx["x"], gradients

    return of_array


def _two(returned: Any, expected: str) -> Any:
    if isinstance(returned, tuple) and len(returned) == 2:
        return returned
    raise InputError(f"{expected}, got {type(returned).__name__}")


def _flat(specification: Specification, path: str = "") -> list[tuple[str, Parameter]]:
    parameters = []
    for name, part in specification.items():
        if isinstance(part, Parameter):
            parameters.append((path + name, part))
        else:
            parameters += _flat(part, f"{path}{name}.")
    return parameters


def _flat_arrays(tree: ParameterTree, path: str = "") -> list[tuple[str, Array]]:
    arrays = []
    for name, part in sorted(tree.items()):
        if isinstance(part, Mapping):
            arrays += _flat_arrays(dict(part), f"{path}{name}.")
        else:
            arrays.append((path + name, part))
    return arrays


def parameter_tree(arrays: dict[str, Array]) -> ParameterTree:
    """Collect the parameters among the inputs of a case into a layer's tree."""
    tree: ParameterTree = {}
    for name, array in arrays.items():
        if name.startswith(PARAMETER):
            *branches, leaf = name.removeprefix(PARAMETER).split(".")
            branch = tree
            for part in branches:
                branch = branch.setdefault(part, {})
            branch[leaf] = array
    return tree

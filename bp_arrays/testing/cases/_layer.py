"""A case from a layer or a loss: forward, backward, and what the oracles are to check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.layers import Layer, Parameter, Specification
from bp_arrays.losses import Loss
from bp_arrays.random import host_generator
from bp_arrays.testing._case import DEFAULT_LIMIT, DTYPES, GRADIENT, PARAMETER, Case, Derivatives
from bp_arrays.testing._placement import HostArrays, Place
from bp_arrays.testing.cases._inputs import normal
from bp_arrays.typing import Array, Backward, HostArray, ParameterTree


def layer_case(
    layer: Layer,
    x: Callable[[], HostArray],
    variant: str,
    *,
    component: str | None = None,
    kind: str = "layer",
    limit: float = DEFAULT_LIMIT,
    analytic: bool = False,
    exact: frozenset[str] = frozenset(),
    oracle: bool = True,
    dtypes: tuple[str, ...] = DTYPES,
) -> Case:
    """Forward and backward of a layer in training, for one input and one error δ.

    The results are "y", "dx" and "d name" for every trainable parameter.
    """
    component = component or type(layer).__name__

    def inputs() -> HostArrays:
        values = x()
        specification, output_shape = layer.init(tuple(values.shape[1:]))
        arrays = {"x": values}
        for path, parameter in _flat(specification):
            generator = host_generator(2026, "case", component, variant, path)
            drawn = np.asarray(parameter.initializer.draw(parameter.shape, generator))
            # Zeros and ones would hide a factor: every parameter gets values of its own.
            arrays[PARAMETER + path] = drawn + 0.1 * generator.uniform(1, 2, parameter.shape)
        shape = (values.shape[0], *output_shape)
        arrays["delta"] = normal(component, variant, "delta", shape=shape)
        return arrays

    def run(place: Place, arrays: dict[str, Array]) -> tuple[Array, Backward]:
        returned = layer.forward(parameter_tree(arrays), arrays["x"], place.context())
        y, backward = _two(returned, "forward must return (output, backward)")
        promised, shape = tuple(arrays["delta"].shape), tuple(y.shape)
        if shape != promised:
            raise InputError(f"y has the shape {shape}, but by init it is to be {promised}")
        return y, backward

    def compute(place: Place, arrays: dict[str, Array]) -> dict[str, Array]:
        y, backward = run(place, arrays)
        returned = backward(arrays["delta"])
        dx, gradients = _two(returned, "backward must return (dx, gradients by name)")
        return {"y": y, "dx": dx} | {
            GRADIENT + path: gradient for path, gradient in _flat_arrays(gradients)
        }

    def objective(place: Place, arrays: dict[str, Array]) -> Array:
        y, _ = run(place, arrays)
        return place.xp.sum(y * arrays["delta"])

    sample_shape = tuple(x().shape[1:])
    trainable = [path for path, p in _flat(layer.init(sample_shape)[0]) if p.trainable]
    of = {"dx": "x"} | {GRADIENT + path: PARAMETER + path for path in trainable}
    derivatives = Derivatives(objective, of, analytic) if oracle else None
    return Case(
        component,
        variant,
        kind,
        inputs,
        compute,
        limit,
        exact=exact,
        derivatives=derivatives,
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
    dtypes: tuple[str, ...] = DTYPES,
) -> Case:
    """Value and gradient of a loss for outputs "y", targets "t" and, if given, "weight"."""

    def compute(place: Place, arrays: dict[str, Array]) -> dict[str, Array]:
        value, backward = loss.forward(
            arrays["y"], arrays["t"], place.context(), arrays.get("weight")
        )
        return {"value": value, "dy": backward()}

    def objective(place: Place, arrays: dict[str, Array]) -> Array:
        return loss.forward(arrays["y"], arrays["t"], place.context(), arrays.get("weight"))[0]

    derivatives = Derivatives(objective, {"dy": "y"}, analytic) if oracle else None
    return Case(
        component or type(loss).__name__,
        variant,
        "loss",
        inputs,
        compute,
        limit,
        derivatives=derivatives,
        dtypes=dtypes,
    )


def _two(returned: Any, expected: str) -> Any:
    if isinstance(returned, tuple) and len(returned) == 2:
        return returned
    raise InputError(f"{expected}, it returned a {type(returned).__name__}")


def _flat(specification: Specification, path: str = "") -> list[tuple[str, Parameter]]:
    found = []
    for name, part in specification.items():
        if isinstance(part, Parameter):
            found.append((path + name, part))
        else:
            found += _flat(part, f"{path}{name}.")
    return found


def _flat_arrays(tree: ParameterTree, path: str = "") -> list[tuple[str, Array]]:
    found = []
    for name, part in sorted(tree.items()):
        if isinstance(part, Mapping):
            found += _flat_arrays(dict(part), f"{path}{name}.")
        else:
            found.append((path + name, part))
    return found


def parameter_tree(arrays: dict[str, Array]) -> ParameterTree:
    """The parameters among the inputs of a case, as a layer takes them."""
    tree: ParameterTree = {}
    for name, array in arrays.items():
        if name.startswith(PARAMETER):
            *branches, leaf = name.removeprefix(PARAMETER).split(".")
            branch = tree
            for part in branches:
                branch = branch.setdefault(part, {})
            branch[leaf] = array
    return tree

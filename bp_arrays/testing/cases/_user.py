"""Cases of custom layers and losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from operator import index
from typing import Any

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.inputs import Inputs, InputSpec, as_inputs, only_shape, shapes_of
from bp_arrays.layers import Layer
from bp_arrays.losses import Loss
from bp_arrays.random import host_generator
from bp_arrays.testing._case import DTYPES_WITH_HALF, Case
from bp_arrays.testing._placement import HostArrays
from bp_arrays.testing.cases._inputs import normal
from bp_arrays.testing.cases._layer import layer_case, loss_case
from bp_arrays.trees import Tree, leaves, map_tree
from bp_arrays.typing import HostArray, Shape

LARGE = "large reduction"
ROWS = {"ordinary": 5, "batch of 1": 1, "odd sizes": 13, LARGE: 1000}
MOST_NUMBERS = 1_000_000
"""Numbers in one input: a batch of large samples has fewer rows."""

REDUCTION_LIMIT = 64.0
"""Limit for sums of many terms that nearly cancel: their rounding error is relatively large."""


INDICES = 10
"""Indices are drawn below this number if the `InputSpec` has no size."""


def own_cases(components: Sequence[Layer | Loss], input_shape: Any) -> list[Case]:
    """Build the cases of custom components: batches of several sizes, non-contiguous input.

    Parameters
    ----------
    components : sequence of Layer or Loss
    input_shape : int, tuple of int, InputSpec, or tuple or dict of them
        The shape of one sample; of each input, as for `bp.Model`.

    Raises
    ------
    InputError
        For anything but a layer or a loss, or a shape that it does not accept.
    """
    inputs = _inputs(input_shape)
    for component in components:
        _check(component, inputs)
    return [
        case
        for name, component in zip(_names(components), components, strict=True)
        for case in _cases_of(component, name, inputs)
    ]


def _names(components: Sequence[Layer | Loss]) -> list[str]:
    """Name each component after its class; several of one class are numbered."""
    kinds = [type(component).__name__ for component in components]
    return [
        f"{kind} {kinds[: k + 1].count(kind)}" if kinds.count(kind) > 1 else kind
        for k, kind in enumerate(kinds)
    ]


def _inputs(input_shape: Any) -> Inputs:
    """Return the specification of each input."""
    parts = input_shape if isinstance(input_shape, tuple) else ()
    several = any(isinstance(part, (tuple, list, InputSpec)) for part in parts)
    if several or isinstance(input_shape, (InputSpec, Mapping)):
        return as_inputs(input_shape, "check(input_shape=)")
    return InputSpec(_shape(input_shape))


def _shape(input_shape: int | Shape) -> Shape:
    sizes = input_shape if isinstance(input_shape, Iterable) else (input_shape,)
    try:
        shape = tuple(index(size) for size in sizes)
        if all(size > 0 for size in shape):
            return shape
    except TypeError:
        pass
    raise InputError(
        f"check(input_shape=): expected positive integers, such as 4 or (3, 8, 8), "
        f"got {input_shape!r}"
    )


def _check(component: Layer | Loss, inputs: Inputs) -> None:
    """Raise InputError unless this is a layer that accepts the shape, or a loss."""
    if isinstance(component, type):
        raise InputError(
            f"check: expected a layer or a loss, got the class {component.__name__}; pass an "
            f"instance, such as {component.__name__}()"
        )
    if not isinstance(component, (Layer, Loss)):
        raise InputError(f"check: expected a layer or a loss, got {component!r}")
    if isinstance(component, Loss):
        only_shape(inputs, f"check({type(component).__name__})")
        return
    shape = shapes_of(inputs)
    call = f"check: {type(component).__name__}.init({shape})"
    try:
        returned = component.init(shape)
    except InputError:
        raise
    except Exception as error:  # a user's layer may raise anything
        raise InputError(f"{call} raised {error!r}; check that input_shape fits it") from error
    is_pair = isinstance(returned, tuple) and len(returned) == 2
    if not (is_pair and type(returned[0]) is dict and isinstance(returned[1], (tuple, dict))):
        raise InputError(
            f"{call}: expected the parameters by name and the output shape, such as "
            f"({{}}, {shape}), got {returned!r}"
        )


def _cases_of(component: Layer | Loss, name: str, inputs: Inputs) -> list[Case]:
    cases = []
    numbers = sum(math.prod(spec.shape) for spec in leaves(inputs))
    for variant, rows in ROWS.items():
        if variant == LARGE:
            rows = max(50, min(rows, MOST_NUMBERS // numbers))
        x = partial(_drawn, name, variant, inputs, rows)
        cases.append(_case(component, name, x, variant))
    y = partial(_drawn, name, "non-contiguous", inputs, 5, contiguous=False)
    cases.append(_case(component, name, y, "non-contiguous"))
    return cases


def _drawn(name: str, variant: str, inputs: Inputs, rows: int, *, contiguous: bool = True) -> Tree:
    """Draw samples of each input: numbers, or indices."""
    numbers = count()

    def draw(spec: InputSpec) -> HostArray:
        k = next(numbers)
        path = ("own", name, variant, f"input {k}") if k else ("own", name, variant)
        shape = (rows, *spec.shape) if contiguous else (*spec.shape[::-1], 2 * rows)
        if spec.is_index:
            values = host_generator(2026, "case", *path).integers(0, spec.size or INDICES, shape)
        else:
            values = normal(*path, shape=shape)
        return values if contiguous else values.T[::2]

    return map_tree(draw, inputs)


def _case(component: Layer | Loss, name: str, x: Callable[[], Tree], variant: str) -> Case:
    is_large = variant == LARGE
    if isinstance(component, Layer):
        case = layer_case(component, x, variant, component=name, oracle=not is_large)
    else:
        inputs = partial(_loss_inputs, component, x)
        case = loss_case(component, inputs, variant, component=name, oracle=not is_large)
    if is_large:
        return replace(case, limit=REDUCTION_LIMIT)
    return replace(case, dtypes=DTYPES_WITH_HALF)


def _loss_inputs(loss: Loss, y: Callable[[], np.ndarray]) -> HostArrays:
    outputs = y()
    if loss.takes_classes:
        positions = loss.positions(outputs.shape)
        classes = np.arange(math.prod(positions)) % outputs.shape[-1]
        return {"y": outputs, "t": np.reshape(classes, positions)}
    chosen = np.roll(outputs, 1)[..., : loss.target_shape(outputs.shape)[-1]]
    return {"y": outputs, "t": np.where(chosen > 0, 1.0, 0.0)}

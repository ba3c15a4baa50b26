"""Cases of custom layers and losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from operator import index

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.layers import Layer
from bp_arrays.losses import Loss
from bp_arrays.testing._case import DTYPES_WITH_HALF, Case
from bp_arrays.testing._placement import HostArrays
from bp_arrays.testing.cases._inputs import normal
from bp_arrays.testing.cases._layer import layer_case, loss_case
from bp_arrays.typing import Shape

LARGE = "large reduction"
ROWS = {"ordinary": 5, "batch of 1": 1, "odd sizes": 13, LARGE: 1000}
MOST_NUMBERS = 1_000_000
"""Numbers in one input: a batch of large samples has fewer rows."""

REDUCTION_LIMIT = 64.0
"""Limit for sums of many terms that nearly cancel: their rounding error is relatively large."""


def own_cases(components: Sequence[Layer | Loss], input_shape: int | Shape) -> list[Case]:
    """Build the cases of custom components: batches of several sizes, non-contiguous input.

    Parameters
    ----------
    components : sequence of Layer or Loss
    input_shape : int or tuple of int
        The shape of one sample.

    Raises
    ------
    InputError
        For anything but a layer or a loss, or a shape that it does not accept.
    """
    shape = _shape(input_shape)
    for component in components:
        _check(component, shape)
    return [
        case
        for name, component in zip(_names(components), components, strict=True)
        for case in _cases_of(component, name, shape)
    ]


def _names(components: Sequence[Layer | Loss]) -> list[str]:
    """Name each component after its class; several of one class are numbered."""
    kinds = [type(component).__name__ for component in components]
    return [
        f"{kind} {kinds[: k + 1].count(kind)}" if kinds.count(kind) > 1 else kind
        for k, kind in enumerate(kinds)
    ]


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


def _check(component: Layer | Loss, shape: Shape) -> None:
    """Raise InputError unless this is a layer that accepts the shape, or a loss."""
    if isinstance(component, type):
        raise InputError(
            f"check: expected a layer or a loss, got the class {component.__name__}; pass an "
            f"instance, such as {component.__name__}()"
        )
    if not isinstance(component, (Layer, Loss)):
        raise InputError(f"check: expected a layer or a loss, got {component!r}")
    if isinstance(component, Loss):
        return
    call = f"check: {type(component).__name__}.init({shape})"
    try:
        returned = component.init(shape)
    except InputError:
        raise
    except Exception as error:  # a user's layer may raise anything
        raise InputError(f"{call} raised {error!r}; check that input_shape fits it") from error
    is_pair = isinstance(returned, tuple) and [type(part) for part in returned] == [dict, tuple]
    if not is_pair:
        raise InputError(
            f"{call}: expected the parameters by name and the output shape, such as "
            f"({{}}, {shape}), got {returned!r}"
        )


def _cases_of(component: Layer | Loss, name: str, shape: Shape) -> list[Case]:
    cases = []
    for variant, rows in ROWS.items():
        if variant == LARGE:
            rows = max(50, min(rows, MOST_NUMBERS // math.prod(shape)))
        x = partial(normal, "own", name, variant, shape=(rows, *shape))
        cases.append(_case(component, name, x, variant))
    x = partial(normal, "own", name, "non-contiguous", shape=(*shape[::-1], 10))
    cases.append(_case(component, name, lambda: x().T[::2], "non-contiguous"))
    return cases


def _case(component: Layer | Loss, name: str, x: Callable[[], np.ndarray], variant: str) -> Case:
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

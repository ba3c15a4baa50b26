"""Cases for the layers and losses that users bring."""

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
"""In one input: a batch of large samples has fewer rows."""

REDUCTION_LIMIT = 64.0
"""For sums of many terms of either sign, whose rounding is measured against what is left."""


def own_cases(components: Sequence[Layer | Loss], input_shape: int | Shape) -> list[Case]:
    """The cases of each component: batches of several sizes, and input that is not contiguous.

    Parameters
    ----------
    components : sequence of Layer or Loss
    input_shape : int or tuple of int
        Of one sample.

    Raises
    ------
    InputError
        For something else than a layer or a loss, or a shape that it does not take.
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
    """The name of each one's class; several of a class are numbered."""
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
    """Raise InputError unless this is a layer that takes the shape, or a loss."""
    if isinstance(component, type):
        raise InputError(
            f"check: {component.__name__} is a class; pass a layer or a loss made from it, such "
            f"as {component.__name__}()"
        )
    if not isinstance(component, (Layer, Loss)):
        raise InputError(f"check: expected a layer or a loss, got {component!r}")
    if isinstance(component, Loss):
        return
    asked = f"check: {type(component).__name__}.init({shape})"
    try:
        returned = component.init(shape)
    except InputError:
        raise
    except Exception as error:  # the layer is the user's, and so is what it raises
        raise InputError(f"{asked} raised {error!r}; is input_shape what it takes?") from error
    described = isinstance(returned, tuple) and [type(part) for part in returned] == [dict, tuple]
    if not described:
        raise InputError(
            f"{asked} must return the parameters by name and the shape of the output, "
            f"such as ({{}}, {shape}); it returned {returned!r}"
        )


def _cases_of(component: Layer | Loss, name: str, shape: Shape) -> list[Case]:
    found = []
    for variant, rows in ROWS.items():
        if variant == LARGE:
            rows = max(50, min(rows, MOST_NUMBERS // math.prod(shape)))
        x = partial(normal, "own", name, variant, shape=(rows, *shape))
        found.append(_case(component, name, x, variant))
    x = partial(normal, "own", name, "non-contiguous", shape=(*shape[::-1], 10))
    found.append(_case(component, name, lambda: x().T[::2], "non-contiguous"))
    return found


def _case(component: Layer | Loss, name: str, x: Callable[[], np.ndarray], variant: str) -> Case:
    large = variant == LARGE
    if isinstance(component, Layer):
        case = layer_case(component, x, variant, component=name, oracle=not large)
    else:
        inputs = partial(_loss_inputs, component, x)
        case = loss_case(component, inputs, variant, component=name, oracle=not large)
    if large:
        return replace(case, limit=REDUCTION_LIMIT)
    return replace(case, dtypes=DTYPES_WITH_HALF)


def _loss_inputs(loss: Loss, y: Callable[[], np.ndarray]) -> HostArrays:
    outputs = y()
    if loss.takes_classes:
        return {"y": outputs, "t": np.arange(outputs.shape[0]) % outputs.shape[-1]}
    return {"y": outputs, "t": np.where(np.roll(outputs, 1) > 0, 1.0, 0.0)}

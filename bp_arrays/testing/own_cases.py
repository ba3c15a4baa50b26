"""Cases for the layers and losses that users bring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.layers import Layer
from bp_arrays.losses import Loss
from bp_arrays.testing.case import DTYPES_WITH_HALF, Case
from bp_arrays.testing.layer_case import layer_case, loss_case
from bp_arrays.testing.place import HostArrays
from bp_arrays.testing.variants import normal
from bp_arrays.typing import Shape

ROWS = {"ordinary": 5, "batch of 1": 1, "odd sizes": 13, "large reduction": 1000}
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
    shape = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
    if not all(isinstance(size, int) and size > 0 for size in shape):
        raise InputError(f"check(input_shape): expected positive integers, got {input_shape!r}")
    return [case for component in components for case in _cases_of(component, shape)]


def _cases_of(component: Layer | Loss, shape: Shape) -> list[Case]:
    if isinstance(component, type):
        raise InputError(
            f"check: {component.__name__} is a class; pass a layer made from it, such as "
            f"{component.__name__}()"
        )
    if not isinstance(component, (Layer, Loss)):
        raise InputError(f"check: expected a layer or a loss, got {component!r}")
    name = type(component).__name__
    found = []
    for variant, rows in ROWS.items():
        x = partial(normal, "own", name, variant, shape=(rows, *shape))
        found.append(_case(component, x, variant))
    x = partial(normal, "own", name, "non-contiguous", shape=(*shape[::-1], 10))
    found.append(_case(component, lambda: x().T[::2], "non-contiguous"))
    return found


def _case(component: Layer | Loss, x: Callable[[], np.ndarray], variant: str) -> Case:
    large = variant == "large reduction"
    if isinstance(component, Layer):
        case = layer_case(component, x, variant, oracle=not large)
    else:
        case = loss_case(component, partial(_loss_inputs, component, x), variant, oracle=not large)
    if large:
        return replace(case, limit=REDUCTION_LIMIT)
    return replace(case, dtypes=DTYPES_WITH_HALF)


def _loss_inputs(loss: Loss, y: Callable[[], np.ndarray]) -> HostArrays:
    outputs = y()
    if loss.takes_classes:
        return {"y": outputs, "t": np.arange(outputs.shape[0]) % outputs.shape[-1]}
    return {"y": outputs, "t": np.where(np.roll(outputs, 1) > 0, 1.0, 0.0)}

"""Cases of custom layers and losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from bp_arrays.testing.cases._layer import flat_tree, layer_case, loss_case
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


Targets = Callable[[np.random.Generator, Shape], Any]
"""(generator, shape of the targets of a batch) -> targets: numbers, or classes as integers."""


@dataclass(frozen=True)
class LossInputs:
    """What a loss is checked with besides its outputs.

    Parameters
    ----------
    targets : function (generator, shape) -> array, optional
        Draws targets of a shape (batch, ...); by default 0 and 1, or classes.
    target_shape : tuple of int, optional
        The shape of one target; by default that of the loss.
    samples : InputSpec, or tuple or dict of them, optional
        The inputs of the net, for a loss with `uses_inputs`.
    """

    targets: Targets | None = None
    target_shape: Shape | None = None
    samples: Inputs | None = None


def own_cases(
    components: Sequence[Layer | Loss],
    input_shape: Any,
    *,
    targets: Targets | None = None,
    target_shape: Any = None,
    sample_shape: Any = None,
) -> list[Case]:
    """Build the cases of custom components: batches of several sizes, non-contiguous input.

    Parameters
    ----------
    components : sequence of Layer or Loss
    input_shape : int, tuple of int, InputSpec, or tuple or dict of them
        The shape of one sample; of each input, as for `bp.Model`.
    targets, target_shape, sample_shape
        Of losses, as for `bp_arrays.testing.check`.

    Raises
    ------
    InputError
        For anything but a layer or a loss, or a shape that it does not accept.
    """
    inputs = _inputs(input_shape)
    of_losses = LossInputs(
        targets,
        None if target_shape is None else _shape(target_shape, "target_shape"),
        None if sample_shape is None else _inputs(sample_shape, "sample_shape"),
    )
    if of_losses != LossInputs() and not any(isinstance(each, Loss) for each in components):
        raise InputError(
            "check: expected a loss among the components for targets, target_shape or sample_shape"
        )
    if targets is not None and not callable(targets):
        raise InputError(
            f"check(targets=): expected a function (generator, shape) -> array, got {targets!r:.60}"
        )
    for component in components:
        _check(component, inputs)
        if isinstance(component, Loss):
            _check_loss(component, inputs, of_losses)
    return [
        case
        for name, component in zip(_names(components), components, strict=True)
        for case in _cases_of(component, name, inputs, of_losses)
    ]


def _names(components: Sequence[Layer | Loss]) -> list[str]:
    """Name each component after its class; several of one class are numbered."""
    kinds = [type(component).__name__ for component in components]
    return [
        f"{kind} {kinds[: k + 1].count(kind)}" if kinds.count(kind) > 1 else kind
        for k, kind in enumerate(kinds)
    ]


def _inputs(input_shape: Any, argument: str = "input_shape") -> Inputs:
    """Return the specification of each input."""
    parts = input_shape if isinstance(input_shape, tuple) else ()
    several = any(isinstance(part, (tuple, list, InputSpec)) for part in parts)
    if several or isinstance(input_shape, (InputSpec, Mapping)):
        return as_inputs(input_shape, f"check({argument}=)")
    return InputSpec(_shape(input_shape, argument))


def _shape(input_shape: int | Shape, argument: str = "input_shape") -> Shape:
    sizes = input_shape if isinstance(input_shape, Iterable) else (input_shape,)
    try:
        shape = tuple(index(size) for size in sizes)
        if all(size > 0 for size in shape):
            return shape
    except TypeError:
        pass
    raise InputError(
        f"check({argument}=): expected positive integers, such as 4 or (3, 8, 8), "
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


def _check_loss(loss: Loss, inputs: Inputs, of_losses: LossInputs) -> None:
    """Raise InputError unless a loss takes the targets and the samples that would be drawn."""
    name = type(loss).__name__
    if loss.uses_inputs and of_losses.samples is None:
        raise InputError(
            f"check({name}): expected sample_shape=, the shape of one sample of the net's inputs, "
            "as the loss uses them"
        )
    y = np.zeros((3, *only_shape(inputs, f"check({name})")))
    t = _targets(loss, y, of_losses, name, "shapes")
    if t.shape[:1] != y.shape[:1]:
        raise InputError(
            f"check(targets=): expected shape (batch, ...) for a batch of 3, got {t.shape}"
        )
    try:
        loss.check_shapes(y.shape, t.shape)
    except Exception as error:  # a user's loss may raise anything
        raise InputError(
            f"check({name}): outputs of shape {y.shape} and targets of shape {t.shape} do not fit: "
            f"{' '.join(str(error).split()):.150}; pass target_shape=, or targets=, a function "
            "(generator, shape) -> array"
        ) from error


def _cases_of(
    component: Layer | Loss, name: str, inputs: Inputs, of_losses: LossInputs
) -> list[Case]:
    cases = []
    numbers = sum(math.prod(spec.shape) for spec in leaves(inputs))
    for variant, rows in ROWS.items():
        if variant == LARGE:
            rows = max(50, min(rows, MOST_NUMBERS // numbers))
        x = partial(_drawn, name, variant, inputs, rows)
        cases.append(_case(component, name, x, variant, of_losses))
    y = partial(_drawn, name, "non-contiguous", inputs, 5, contiguous=False)
    cases.append(_case(component, name, y, "non-contiguous", of_losses))
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


def _case(
    component: Layer | Loss,
    name: str,
    x: Callable[[], Tree],
    variant: str,
    of_losses: LossInputs,
) -> Case:
    is_large = variant == LARGE
    if isinstance(component, Layer):
        case = layer_case(component, x, variant, component=name, oracle=not is_large)
    else:
        inputs = partial(_loss_inputs, component, x, of_losses, name, variant)
        samples = of_losses.samples if component.uses_inputs else None
        case = loss_case(
            component, inputs, variant, component=name, samples=samples, oracle=not is_large
        )
    if is_large:
        return replace(case, limit=REDUCTION_LIMIT)
    return replace(case, dtypes=DTYPES_WITH_HALF)


def _loss_inputs(
    loss: Loss, y: Callable[[], np.ndarray], of_losses: LossInputs, name: str, variant: str
) -> HostArrays:
    outputs = y()
    inputs = {"y": outputs, "t": _targets(loss, outputs, of_losses, name, variant)}
    if loss.uses_inputs:
        samples = _drawn(f"{name}, samples", variant, of_losses.samples, len(outputs))
        inputs |= flat_tree("x", samples)
    return inputs


def _targets(loss: Loss, y: HostArray, of_losses: LossInputs, name: str, variant: str) -> HostArray:
    """Draw targets: with the user's function, or classes, or 0 and 1."""
    shape = loss.target_shape(y.shape)
    if of_losses.target_shape is not None:
        shape = (len(y), *of_losses.target_shape)
    generator = host_generator(2026, "case", "own", name, variant, "targets")
    if of_losses.targets is not None:
        return _of_function(of_losses.targets, generator, shape)
    if loss.takes_classes and of_losses.target_shape is None:
        positions = loss.positions(y.shape)
        return np.reshape(np.arange(math.prod(positions)) % y.shape[-1], positions)
    return np.where(generator.standard_normal(shape) > 0.0, 1.0, 0.0)


def _of_function(targets: Targets, generator: np.random.Generator, shape: Shape) -> HostArray:
    """Return the targets of a user's function: integers as they are, other numbers in float64."""
    call = f"check(targets=): targets(generator, {shape})"
    try:
        drawn = np.asarray(targets(generator, shape))
    except Exception as error:  # a user's function may raise anything
        raise InputError(f"{call} raised {error!r:.150}") from error
    if drawn.dtype.kind not in "biuf" or drawn.ndim == 0:
        raise InputError(f"{call}: expected an array of numbers, got {drawn!r:.60}")
    return drawn if drawn.dtype.kind in "iu" else drawn.astype(np.float64)

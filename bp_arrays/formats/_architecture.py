"""Convert a layer tree or an optimizer to JSON and back, by the fields of its dataclasses.

    {"Linear": {"out_features": 30, "bias": true, ...}}

An instance becomes an object whose only key is the name of its class, with the fields below it.
Only known classes are read back: those of this library, and those that the caller passes; no code
is run. An instance that would not be read back as an equal one is refused.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

from bp_arrays import activations, attention, convolution, layers, normalization, recurrence
from bp_arrays.errors import DataError, InputError
from bp_arrays.initializers import INITIALIZERS, Stacked
from bp_arrays.layers import Layer, Parallel
from bp_arrays.optimizers import (
    EMA,
    ESTIMATOR_OPTIMIZERS,
    OPTIMIZERS,
    Chain,
    ClipByGlobalNorm,
    Optimizer,
    WeightDecay,
)
from bp_arrays.schedules import SCHEDULES

DEPTH_LIMIT = 64
"""The maximum nesting of layers in a file, so that a hostile file cannot exhaust the stack."""


@functools.cache
def _library() -> dict[str, type]:
    """Return the library's layers, optimizers and their parts by name."""
    rooms = (layers, activations, convolution, normalization, recurrence, attention)
    public = [getattr(room, name) for room in rooms for name in room.__all__]
    layer_classes = {
        kind.__name__: kind
        for kind in public
        if isinstance(kind, type) and issubclass(kind, Layer) and kind is not Layer
    }
    links = {kind.__name__: kind for kind in (EMA, Chain, ClipByGlobalNorm, WeightDecay)}
    optimizers = {**OPTIMIZERS, **ESTIMATOR_OPTIMIZERS, **links}
    return {**layer_classes, **INITIALIZERS, Stacked.__name__: Stacked, **optimizers, **SCHEDULES}


def to_json(net: Any) -> Any:
    """Return a layer tree, an optimizer, or a part of one such as a schedule, as JSON values.

    Raises
    ------
    InputError
        If it would not be read back as it is: a field of a custom layer is not a JSON value, its
        class has the name of another one, or layers are nested too deep.
    """
    known = dict(_library())
    tree = _describe(net, known)
    try:
        again = _build(tree, known, DEPTH_LIMIT)
    except DataError as error:
        raise InputError(f"this model cannot be saved in a file: {error}") from None
    if again != net:
        raise InputError(
            f"this model cannot be saved in a file: {net!r:.200} would be read as {again!r:.200}; "
            "a custom layer must be a frozen dataclass whose fields are finite numbers, strings, "
            "layers and tuples of them"
        )
    return tree


def _describe(value: Any, known: dict[str, type]) -> Any:
    """Return the value as JSON values; adds its classes to `known`."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, (tuple, list)):
        return [_describe(part, known) for part in value]
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise InputError(f"a field of a layer, {value!r:.80}, cannot be saved in a file")
    kind = type(value)
    if known.setdefault(kind.__name__, kind) is not kind:
        raise InputError(
            f"the layer class {kind.__module__}.{kind.__qualname__} cannot be saved in a file: "
            f"another class has the name {kind.__name__!r}; rename it"
        )
    if isinstance(value, Chain):  # its learning rate is that of its last link
        links = (*value.transforms, value.optimizer)
        return {kind.__name__: [_describe(link, known) for link in links]}
    if isinstance(value, Parallel) and value.names is not None:
        named = {name: _describe(layer, known) for name, layer in value.parts().items()}
        return {kind.__name__: named}
    if isinstance(value, Parallel):
        return {kind.__name__: [_describe(layer, known) for layer in value.layers]}
    fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
    if _takes_any_number(kind):
        arguments: list[Any] = []
        for field in fields.values():
            arguments += field if isinstance(field, tuple) else [field]
        return {kind.__name__: [_describe(argument, known) for argument in arguments]}
    return {kind.__name__: {name: _describe(field, known) for name, field in fields.items()}}


def _takes_any_number(kind: type) -> bool:
    """Return True if a class takes any number of parts, as Sequential(*layers) does."""
    parameters = inspect.signature(kind).parameters.values()
    return any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)


def classes_by_name(classes: Sequence[type[Layer]]) -> dict[str, type]:
    """Return custom layer classes by name, for `layer_from_json`.

    Raises
    ------
    InputError
        If one is not a layer class, or has the name of another one or of a library class.
    """
    by_name: dict[str, type] = {}
    for kind in classes:
        if not (isinstance(kind, type) and issubclass(kind, Layer)):
            raise InputError(f"layers: expected classes of layers, got {kind!r:.80}")
        if {**_library(), **by_name}.get(kind.__name__, kind) is not kind:
            raise InputError(f"layers: expected distinct names, got two classes {kind.__name__!r}")
        by_name[kind.__name__] = kind
    return by_name


def layer_from_json(value: Any, classes: Mapping[str, type]) -> Layer:
    """Return the layer tree that `to_json` wrote.

    Parameters
    ----------
    value : JSON value
    classes : mapping of str to type
        Custom layer classes by name, in addition to the library's.

    Raises
    ------
    DataError
        If the value is not such a tree or names an unknown class.
    """
    net = _build(value, {**classes, **_library()}, DEPTH_LIMIT)
    if not isinstance(net, Layer):
        raise DataError(f"expected a layer, got {value!r:.80}")
    return net


def optimizer_from_json(value: Any) -> Optimizer:
    """Return the optimizer that `to_json` wrote, made of parts of this library.

    Raises
    ------
    DataError
        If the value is not such an optimizer.
    """
    optimizer = _build(value, _library(), DEPTH_LIMIT)
    if not isinstance(optimizer, Optimizer):
        raise DataError(f"expected an optimizer, got {value!r:.80}")
    return optimizer


def part_from_json(value: Any, classes: Mapping[str, type]) -> Any:
    """Return the layer, optimizer or schedule that `to_json` wrote.

    Raises
    ------
    DataError
        If the value names a class that is neither the library's nor in `classes`.
    """
    return _build(value, {**classes, **_library()}, DEPTH_LIMIT)


def _build(value: Any, known: Mapping[str, type], depth: int) -> Any:
    if depth == 0:
        raise DataError(f"expected layers nested at most {DEPTH_LIMIT} deep, got more")
    if isinstance(value, list):
        return tuple(_build(part, known, depth - 1) for part in value)
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        raise DataError("the architecture is damaged: expected one class name")
    [(name, fields)] = value.items()
    if name not in known:
        raise DataError(
            f"expected a layer class known to this version, got {name!r:.80}; pass a custom class "
            f"with load(path, layers=[{name:.80}]), or load_estimator(path, classes=...)"
        )
    positional = [_build(v, known, depth - 1) for v in fields] if isinstance(fields, list) else []
    named = (
        {k: _build(v, known, depth - 1) for k, v in fields.items()}
        if isinstance(fields, dict)
        else {}
    )
    try:
        return known[name](*positional, **named)
    except Exception as error:  # a constructor may raise anything for the values of a damaged file
        raise DataError(f"a {name} cannot be built: {error}") from None

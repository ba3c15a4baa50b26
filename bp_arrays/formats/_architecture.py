"""A layer tree or an optimizer as JSON and back, by the fields of its dataclasses.

    {"Linear": {"out_features": 30, "bias": true, ...}}

A class becomes an object with its name as the one key, its fields below it. Only classes that
are known by name come back: those of this library, and those a caller hands in; no code is run.
What would not come back as it was is not written.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

from bp_arrays import layers
from bp_arrays.activations import ACTIVATIONS
from bp_arrays.errors import DataError, InputError
from bp_arrays.initializers import INITIALIZERS
from bp_arrays.layers import Layer
from bp_arrays.optimizers import OPTIMIZERS, Chain, ClipByGlobalNorm, Optimizer, WeightDecay
from bp_arrays.schedules import SCHEDULES

DEPTH_LIMIT = 64
"""How deep layers may be nested in a file: a hostile file cannot exhaust the stack."""


@functools.cache
def _library() -> dict[str, type]:
    """The library's layers and optimizers, and what they are made of, by name."""
    rooms = [getattr(layers, name) for name in layers.__all__]
    found = {
        kind.__name__: kind
        for kind in rooms
        if isinstance(kind, type) and issubclass(kind, Layer) and kind is not Layer
    }
    links = {kind.__name__: kind for kind in (Chain, ClipByGlobalNorm, WeightDecay)}
    return {**found, **ACTIVATIONS, **INITIALIZERS, **OPTIMIZERS, **links, **SCHEDULES}


def to_json(net: Layer | Optimizer) -> Any:
    """A layer tree, or an optimizer, as what JSON can hold.

    Raises
    ------
    InputError
        If it would not come back as it is: a field of a layer of your own holds what JSON cannot,
        or its class has the name of another one, or layers are nested too deep.
    """
    known = dict(_library())
    tree = _describe(net, known)
    try:
        again = _build(tree, known, DEPTH_LIMIT)
    except DataError as error:
        raise InputError(f"this model cannot be kept in a file: {error}") from None
    if again != net:
        raise InputError(
            f"this model cannot be kept in a file: {net!r:.200} would come back as {again!r:.200}; "
            "a layer of your own must be a frozen dataclass whose fields hold finite numbers, "
            "strings, layers and tuples of them"
        )
    return tree


def _describe(value: Any, known: dict[str, type]) -> Any:
    """The value for JSON; `known` learns the classes that it meets."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, (tuple, list)):
        return [_describe(part, known) for part in value]
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise InputError(f"a layer holds {value!r:.80}, which a model file cannot keep")
    kind = type(value)
    if known.setdefault(kind.__name__, kind) is not kind:
        raise InputError(
            f"the layer class {kind.__module__}.{kind.__qualname__} cannot be kept in a file: "
            f"another one is named {kind.__name__!r} too; rename it"
        )
    if isinstance(value, Chain):  # its learning rate is that of its last link
        links = (*value.transforms, value.optimizer)
        return {kind.__name__: [_describe(link, known) for link in links]}
    fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if _takes_any_number(kind):
        arguments: list[Any] = []
        for field in fields.values():
            arguments += field if isinstance(field, tuple) else [field]
        return {kind.__name__: [_describe(argument, known) for argument in arguments]}
    return {kind.__name__: {name: _describe(field, known) for name, field in fields.items()}}


def _takes_any_number(kind: type) -> bool:
    """Whether a class is called with its parts one after the other, as Sequential(*layers) is."""
    parameters = inspect.signature(kind).parameters.values()
    return any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)


def classes_by_name(own: Sequence[type[Layer]]) -> dict[str, type]:
    """Layer classes of your own as `layer_from_json` takes them.

    Raises
    ------
    InputError
        If one is not a layer class, or has the name of another or of one of the library's.
    """
    found: dict[str, type] = {}
    for kind in own:
        if not (isinstance(kind, type) and issubclass(kind, Layer)):
            raise InputError(f"layers: expected classes of layers, got {kind!r:.80}")
        if {**_library(), **found}.get(kind.__name__, kind) is not kind:
            raise InputError(f"layers: another class is named {kind.__name__!r} too")
        found[kind.__name__] = kind
    return found


def layer_from_json(value: Any, own: Mapping[str, type]) -> Layer:
    """The layer tree that `to_json` wrote.

    Parameters
    ----------
    value : JSON value
    own : mapping of str to type
        Layer classes of your own, by name, beside the library's.

    Raises
    ------
    DataError
        If the value is not such a tree or names an unknown class.
    """
    built = _build(value, {**own, **_library()}, DEPTH_LIMIT)
    if not isinstance(built, Layer):
        raise DataError(f"expected a layer, not {value!r:.80}")
    return built


def optimizer_from_json(value: Any) -> Optimizer:
    """The optimizer that `to_json` wrote, made of parts of this library.

    Raises
    ------
    DataError
        If the value is not such an optimizer.
    """
    built = _build(value, _library(), DEPTH_LIMIT)
    if not isinstance(built, Optimizer):
        raise DataError(f"expected an optimizer, not {value!r:.80}")
    return built


def _build(value: Any, known: Mapping[str, type], depth: int) -> Any:
    if depth == 0:
        raise DataError(f"the architecture is nested over {DEPTH_LIMIT} deep")
    if isinstance(value, list):
        return tuple(_build(part, known, depth - 1) for part in value)
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        raise DataError("the architecture is damaged: expected one class name")
    [(name, fields)] = value.items()
    if name not in known:
        raise DataError(
            f"a layer {name!r:.80} is used that this version does not know; if it is your "
            f"own, hand it over: load(path, layers=[{name:.80}])"
        )
    positional = [_build(v, known, depth - 1) for v in fields] if isinstance(fields, list) else []
    named = (
        {k: _build(v, known, depth - 1) for k, v in fields.items()}
        if isinstance(fields, dict)
        else {}
    )
    try:
        return known[name](*positional, **named)
    except Exception as error:  # whatever a constructor makes of values that it never expected
        raise DataError(f"a {name} cannot be built: {error}") from None

"""A layer tree as JSON and back, by the fields of its dataclasses; no code is run.

    {"Linear": {"out_features": 30, "bias": true, ...}}

A class becomes an object with its name as the one key, its fields below it. Only classes that
are known by name come back: those of this library, and those a caller hands in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from bp_arrays import activations, initializers, layers
from bp_arrays.errors import DataError, InputError
from bp_arrays.layers import Layer, Residual, Sequential

DEPTH_LIMIT = 64
"""How deep layers may be nested in a file: a hostile file cannot exhaust the stack."""


def _public_classes() -> dict[str, type]:
    rooms = (layers, activations, initializers)
    found = {name: getattr(room, name) for room in rooms for name in room.__all__}
    return {n: c for n, c in found.items() if isinstance(c, type) and dataclasses.is_dataclass(c)}


def to_json(value: Any) -> Any:
    """A layer, an initialiser or a plain value as what JSON can hold.

    Raises
    ------
    InputError
        For a field whose value JSON cannot hold.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [to_json(part) for part in value]
    if isinstance(value, Sequential):
        return {"Sequential": [to_json(layer) for layer in value]}
    if isinstance(value, Residual):
        return {"Residual": [to_json(value.body)]}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {type(value).__name__: fields}
    raise InputError(f"a layer holds {value!r}, which a model file cannot keep")


def from_json(value: Any, known: Mapping[str, type] | None = None) -> Layer:
    """The layer tree that `to_json` wrote.

    Parameters
    ----------
    value : JSON value
    known : mapping of str to type, optional
        Layer classes of your own, by name, beside the library's.

    Raises
    ------
    DataError
        If the value is not such a tree or names an unknown class.
    """
    net = _build(value, {**_public_classes(), **(known or {})}, DEPTH_LIMIT)
    if not isinstance(net, Layer):
        raise DataError(f"the architecture in the file is not a layer but {value!r:.80}")
    return net


def _build(value: Any, known: Mapping[str, type], depth: int) -> Any:
    if depth == 0:
        raise DataError(f"the architecture in the file is nested over {DEPTH_LIMIT} deep")
    if isinstance(value, list):
        return tuple(_build(part, known, depth - 1) for part in value)
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        raise DataError("the architecture in the file is damaged: expected one class name")
    [(name, fields)] = value.items()
    if name not in known:
        raise DataError(
            f"the file uses a layer {name!r} that this version does not know; if it is your "
            f"own, hand it to load(path, layers=[{name}])"
        )
    try:
        if isinstance(fields, list):
            return known[name](*(_build(part, known, depth - 1) for part in fields))
        return known[name](**{k: _build(v, known, depth - 1) for k, v in fields.items()})
    except (TypeError, AttributeError, InputError) as error:
        raise DataError(f"the file holds a {name} that cannot be built: {error}") from None

"""Parameters and fitted attributes of estimators as JSON values, and back; no code is run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bp_arrays.devices import Device
from bp_arrays.errors import InputError
from bp_arrays.estimators._losses import PoissonLoss, SummedBinaryCrossEntropy
from bp_arrays.formats import part_from_json, to_json
from bp_arrays.layers import Layer
from bp_arrays.losses import LOSSES, Loss
from bp_arrays.optimizers import Optimizer
from bp_arrays.schedules import Schedule
from bp_arrays.typing import HostArray

PARTS = (Layer, Loss, Optimizer, Schedule)
KNOWN_LOSSES: dict[str, type] = {
    **LOSSES,
    **{kind.__name__: kind for kind in (PoissonLoss, SummedBinaryCrossEntropy)},
}
ARRAY_KINDS = "biufUO"


def encoded(value: Any, what: str) -> Any:
    """Return a value as JSON values: an object names what JSON does not have.

    Raises
    ------
    InputError
        If it cannot be stored; `what` names it in the message.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, list):
        return [encoded(part, what) for part in value]
    if isinstance(value, tuple):
        return {"tuple": [encoded(part, what) for part in value]}
    if isinstance(value, Mapping):
        pairs = [[encoded(key, what), encoded(part, what)] for key, part in value.items()]
        return {"dict": pairs}
    if isinstance(value, np.ndarray):
        return {"array": _encoded_array(value, what)}
    if isinstance(value, np.random.RandomState):
        name, keys, *rest = value.get_state()
        return {"RandomState": [name, np.asarray(keys).tolist(), *rest]}
    if isinstance(value, Device):
        return str(value)
    if isinstance(value, PARTS):
        return {"part": to_json(value)}
    raise InputError(
        f"save: expected {what} made of numbers, texts and parts of the library, got {value!r:.80}"
    )


def decoded(value: Any, classes: Mapping[str, type]) -> Any:
    """Return the value that `encoded` wrote; raises any exception for a damaged one.

    Parameters
    ----------
    value : JSON value
    classes : mapping of str to type
        Custom classes of parts by name.
    """
    if isinstance(value, list):
        return [decoded(part, classes) for part in value]
    if not isinstance(value, dict):
        return value
    [(kind, content)] = value.items()
    if kind == "float":
        return float(content)
    if kind == "tuple":
        return tuple(decoded(part, classes) for part in content)
    if kind == "dict":
        return {decoded(key, classes): decoded(part, classes) for key, part in content}
    if kind == "array":
        return _decoded_array(content)
    if kind == "RandomState":
        random = np.random.RandomState()
        random.set_state(tuple(content))
        return random
    if kind == "part":
        return part_from_json(content, {**classes, **KNOWN_LOSSES})
    raise ValueError(f"unknown kind {kind!r:.40}")


def _encoded_array(array: HostArray, what: str) -> dict[str, Any]:
    if array.dtype.kind not in ARRAY_KINDS or array.ndim != 1:
        raise InputError(
            f"save: expected {what} of numbers or texts, got an array of dtype {array.dtype}"
        )
    return {"dtype": array.dtype.str, "values": encoded(array.tolist(), what)}


def _decoded_array(content: Any) -> HostArray:
    dtype = np.dtype(content["dtype"])
    if dtype.kind not in ARRAY_KINDS:
        raise ValueError(f"unknown dtype {dtype}")
    values = decoded(content["values"], {})
    array = np.empty(len(values), dtype)
    array[:] = values
    return array

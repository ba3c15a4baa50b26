"""What a model file says of its model beside the arrays, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.errors import DataError, InputError
from bp_arrays.formats._architecture import layer_from_json, optimizer_from_json, to_json
from bp_arrays.inputs import Inputs, InputSpec
from bp_arrays.layers import Layer
from bp_arrays.optimizers import TrainingState
from bp_arrays.typing import Shape

SCHEMA = 2
"""Raised when the meaning of the header changes; a file of a later schema is refused.

1: "input_shape", a list of integers. 2: "inputs", see `_inputs_to_json`.
"""

MONITORED = "training_state.monitored"
"""The array of the losses that training monitored, one per epoch."""

STORED_AS = {"float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "F32"}
"""A model's dtype -> its arrays' in the file: NumPy lacks bfloat16, float32 holds it exactly."""


@dataclass(frozen=True)
class Header:
    """The description of a model: all but the values of its parameters.

    Parameters
    ----------
    net : Layer
    inputs : InputSpec, or tuple or dict of them
        What the net takes.
    dtype : str
        One of STORED_AS.
    seed : int
    metadata : mapping of str to str
        The user's.
    training : TrainingState, optional
        Without its numbers, which are arrays of the file.
    """

    net: Layer
    inputs: Inputs
    dtype: str
    seed: int
    metadata: Mapping[str, str]
    training: TrainingState | None = None

    def to_json(self) -> str:
        """This header as JSON text.

        Raises
        ------
        InputError
            If a layer of your own cannot be described, or an optimizer is your own.
        """
        content = {
            "schema": SCHEMA,
            "net": to_json(self.net),
            "inputs": _inputs_to_json(self.inputs),
            "dtype": self.dtype,
            "seed": self.seed,
            "metadata": {str(key): str(value) for key, value in self.metadata.items()},
            "training": None if self.training is None else _describe(self.training),
        }
        return json.dumps(content, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, own: Mapping[str, type]) -> Header:
        """The header that `to_json` wrote; every value is looked at before it is believed.

        Raises
        ------
        DataError
            If it is damaged, of another schema, or names a layer class that is neither the
            library's nor in `own`.
        """
        try:
            content = json.loads(
                text, parse_constant=_refuse_constant, object_pairs_hook=_without_duplicates
            )
        except (ValueError, RecursionError) as error:
            raise DataError(f"the model's description is not valid JSON: {error!s:.80}") from None
        schema = content.get("schema") if isinstance(content, dict) else None
        if type(schema) is not int or not 1 <= schema <= SCHEMA:
            advice = (
                "update bp_arrays with pip install -U bp_arrays"
                if isinstance(schema, int) and schema > SCHEMA
                else "the file is damaged, or no model of bp_arrays"
            )
            raise DataError(
                f"model schema {schema!r:.40}, this version reads 1 to {SCHEMA}: {advice}"
            )
        if schema == 1:
            inputs: Inputs = InputSpec(_shape(content.get("input_shape"), "input_shape"))
        else:
            inputs = _inputs_from_json(content.get("inputs"))
        dtype, metadata = map(content.get, ("dtype", "metadata"))
        if not (isinstance(dtype, str) and dtype in STORED_AS):
            raise DataError(f"dtype is {dtype!r:.80}, expected one of {', '.join(STORED_AS)}")
        if not (isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())):
            raise DataError("metadata must give a string for each name")
        net = layer_from_json(content.get("net"), own)
        training = _training(content.get("training"))
        return cls(net, inputs, dtype, _count(content, "seed"), metadata, training)


def _inputs_to_json(inputs: Inputs) -> Any:
    """Describe inputs: an object for one, a list for a tuple, {"named": {...}} for a dict."""
    if isinstance(inputs, dict):
        return {"named": {name: _inputs_to_json(spec) for name, spec in inputs.items()}}
    if isinstance(inputs, tuple):
        return [_inputs_to_json(spec) for spec in inputs]
    return {"shape": list(inputs.shape), "kind": inputs.kind, "size": inputs.size}


def _inputs_from_json(value: Any) -> Inputs:
    """The inputs that `_inputs_to_json` described."""
    if isinstance(value, list) and value:
        return tuple(_input_from_json(part) for part in value)
    if isinstance(value, dict) and value.keys() == {"named"}:
        named = value["named"]
        if not (isinstance(named, dict) and named):
            raise DataError(f"inputs are {value!r:.80}, expected names")
        return {name: _input_from_json(part) for name, part in named.items()}
    return _input_from_json(value)


def _input_from_json(value: Any) -> InputSpec:
    if not (isinstance(value, dict) and value.keys() == {"shape", "kind", "size"}):
        raise DataError(f"an input is {value!r:.80}, expected its shape, kind and size")
    shape, kind, size = (
        _shape(value["shape"], "the shape of an input"),
        value["kind"],
        value["size"],
    )
    if not (size is None or type(size) is int):
        raise DataError(f"the size of an input is {size!r:.80}, expected an integer")
    try:
        return InputSpec(shape, kind, size)
    except InputError as error:
        raise DataError(str(error)) from None


def _shape(shape: Any, what: str) -> Shape:
    if not (isinstance(shape, list) and all(type(n) is int and n > 0 for n in shape)):
        raise DataError(f"{what} is {shape!r:.80}, expected a list of positive integers")
    return tuple(shape)


def vector_names(state: TrainingState) -> list[str]:
    """Return the names in the file of the vectors that this state's optimizer keeps."""
    vectors = state.optimizer.init(np.zeros(0), np)
    return [f"training_state.{k}" for k in range(len(vectors))]


def _describe(state: TrainingState) -> dict[str, Any]:
    optimizer = to_json(state.optimizer)
    try:
        optimizer_from_json(optimizer)
    except DataError:
        raise InputError(
            f"training_state=True: {state.optimizer!r:.80} is not an optimizer of the library, or "
            "not made of its parts, so a file cannot keep it"
        ) from None
    return {"optimizer": optimizer, "step": state.step, "epoch": state.epoch}


def _training(described: Any) -> TrainingState | None:
    if described is None:
        return None
    if not isinstance(described, dict):
        raise DataError(f"the training state is {described!r:.80}")
    step, epoch = (_count(described, name) for name in ("step", "epoch"))
    optimizer = optimizer_from_json(described.get("optimizer"))
    return TrainingState(optimizer, (), step, epoch)


def _count(content: Mapping[str, Any], name: str) -> int:
    count = content.get(name)
    if type(count) is not int or count < 0:
        raise DataError(f"{name} is {count!r:.80}, expected a whole number of 0 or more")
    return count


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found

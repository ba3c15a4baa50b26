"""What a model file says of its model beside the arrays, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.errors import DataError, InputError
from bp_arrays.formats._architecture import layer_from_json, optimizer_from_json, to_json
from bp_arrays.layers import Layer
from bp_arrays.optimizers import TrainingState
from bp_arrays.typing import Shape

SCHEMA = 1
"""Raised when the meaning of the header changes; a file of another schema is refused."""

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
    input_shape : tuple of int
    dtype : str
        One of STORED_AS.
    seed : int
    metadata : mapping of str to str
        The user's.
    training : TrainingState, optional
        Without its numbers, which are arrays of the file.
    """

    net: Layer
    input_shape: Shape
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
            "input_shape": list(self.input_shape),
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
        if type(schema) is not int or schema != SCHEMA:
            advice = (
                "update bp_arrays with pip install -U bp_arrays"
                if isinstance(schema, int) and schema > SCHEMA
                else "the file is damaged, or no model of bp_arrays"
            )
            raise DataError(f"model schema {schema!r:.40}, this version reads {SCHEMA}: {advice}")
        shape, dtype, metadata = map(content.get, ("input_shape", "dtype", "metadata"))
        if not (isinstance(shape, list) and all(type(n) is int and n > 0 for n in shape)):
            raise DataError(f"input_shape is {shape!r:.80}, expected a list of positive integers")
        if not (isinstance(dtype, str) and dtype in STORED_AS):
            raise DataError(f"dtype is {dtype!r:.80}, expected one of {', '.join(STORED_AS)}")
        if not (isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())):
            raise DataError("metadata must give a string for each name")
        net = layer_from_json(content.get("net"), own)
        training = _training(content.get("training"))
        return cls(net, tuple(shape), dtype, _count(content, "seed"), metadata, training)


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

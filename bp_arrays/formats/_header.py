"""`Header`: the JSON description of a model in its file, all but the arrays."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.errors import DataError, InputError
from bp_arrays.formats._architecture import layer_from_json, optimizer_from_json, to_json
from bp_arrays.inputs import Inputs, InputSpec
from bp_arrays.layers import Layer
from bp_arrays.optimizers import EMA, BestSoFar, TrainingState
from bp_arrays.typing import HostArray, Shape

SCHEMA = 3
"""Increased when the meaning of the header changes; a file of a later schema is refused.

1: "input_shape", a list of integers. 2: "inputs", see `_inputs_to_json`. 3: "checksums" of the
arrays, and the "checksum" of the header with these.
"""

MONITORED = "training_state.monitored"
"""The array of the losses that training monitored, one per epoch."""

LOSS_SCALING = "training_state.loss_scaling"
"""The array of the state of loss scaling, of models that compute in float16."""

STORED_AS = {"float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "F32"}
"""The stored dtype by the model's: NumPy lacks bfloat16, and float32 represents it exactly."""


COMPUTE_DTYPES = ("bfloat16", "float16")
"""The compute dtypes of models in mixed precision."""

MIXED = [("float32", compute_dtype) for compute_dtype in COMPUTE_DTYPES]
"""The pairs of dtype and compute dtype that there are."""


@dataclass(frozen=True)
class Header:
    """The description of a model: all but the values of its parameters.

    Parameters
    ----------
    net : Layer
    inputs : InputSpec, or tuple or dict of them
    dtype : str
        One of STORED_AS.
    seed : int
    metadata : mapping of str to str
        Set by the user.
    training : TrainingState, optional
        Without its vectors, which are arrays of the file.
    checksums : mapping of str to str, optional
        Of each array of the file; None in files of schemas 1 and 2.
    compute_dtype : str, optional
        One of COMPUTE_DTYPES.
    """

    net: Layer
    inputs: Inputs
    dtype: str
    seed: int
    metadata: Mapping[str, str]
    training: TrainingState | None = None
    checksums: Mapping[str, str] | None = None
    compute_dtype: str | None = None

    def to_json(self) -> str:
        """Return this header as JSON text.

        Raises
        ------
        InputError
            If a custom layer cannot be described, or the optimizer is a custom one.
        """
        content = {
            "schema": SCHEMA,
            "net": to_json(self.net),
            "inputs": _inputs_to_json(self.inputs),
            "dtype": self.dtype,
            **({} if self.compute_dtype is None else {"compute_dtype": self.compute_dtype}),
            "seed": self.seed,
            "metadata": {str(key): str(value) for key, value in self.metadata.items()},
            "training": None if self.training is None else _describe(self.training),
            "checksums": dict(self.checksums or {}),
        }
        return json.dumps(content | {"checksum": _checksum(content)}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, classes: Mapping[str, type]) -> Header:
        """Return the header that `to_json` wrote, every value checked.

        Raises
        ------
        DataError
            If it is damaged, of another schema, or names a layer class that is neither the
            library's nor in `classes`.
        """
        try:
            content = json.loads(
                text, parse_constant=_refuse_constant, object_pairs_hook=_without_duplicates
            )
        except (ValueError, RecursionError) as error:
            raise DataError(f"expected valid JSON in the header, got {error!s:.80}") from None
        schema = content.get("schema") if isinstance(content, dict) else None
        if type(schema) is not int or not 1 <= schema <= SCHEMA:
            advice = (
                "update bp_arrays with pip install -U bp_arrays"
                if isinstance(schema, int) and schema > SCHEMA
                else "the file is damaged, or not a model of bp_arrays"
            )
            raise DataError(f"expected model schema 1 to {SCHEMA}, got {schema!r:.40}; {advice}")
        checksum = content.pop("checksum", None)
        # also in a file whose schema is one that had none: that may be the damage
        if (schema >= 3 or checksum is not None) and checksum != _checksum(content):
            raise DataError("the header differs from its checksum; the file is damaged, use a copy")
        if schema == 1:
            inputs: Inputs = InputSpec(_shape(content.get("input_shape"), "input_shape"))
        else:
            inputs = _inputs_from_json(content.get("inputs"))
        dtype, metadata = map(content.get, ("dtype", "metadata"))
        if not (isinstance(dtype, str) and dtype in STORED_AS):
            raise DataError(f"dtype: expected one of {', '.join(STORED_AS)}, got {dtype!r:.80}")
        if not (isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())):
            raise DataError("metadata: expected a string for each name")
        compute_dtype = content.get("compute_dtype")
        if compute_dtype is not None and (dtype, compute_dtype) not in MIXED:
            raise DataError(
                f"compute_dtype: expected one of {', '.join(COMPUTE_DTYPES)}, of a float32 model, "
                f"got {compute_dtype!r:.80} of {dtype}"
            )
        net = layer_from_json(content.get("net"), classes)
        training = _training(content.get("training"))
        checksums = content.get("checksums") if schema >= 3 else None
        seed = _count(content, "seed")
        return cls(net, inputs, dtype, seed, metadata, training, checksums, compute_dtype)


def array_checksum(array: HostArray) -> str:
    """Return the BLAKE2b hash of a contiguous array: its dtype, shape and bytes."""
    digest = hashlib.blake2b(f"{array.dtype.str}{array.shape}".encode(), digest_size=16)
    digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _checksum(content: Mapping[str, Any]) -> str:
    """Return the BLAKE2b hash of the header as JSON text, without the hash itself."""
    text = json.dumps(content, allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _inputs_to_json(inputs: Inputs) -> Any:
    """Describe inputs: an object for one, a list for a tuple, {"named": {...}} for a dict."""
    if isinstance(inputs, dict):
        return {"named": {name: _inputs_to_json(spec) for name, spec in inputs.items()}}
    if isinstance(inputs, tuple):
        return [_inputs_to_json(spec) for spec in inputs]
    return {"shape": list(inputs.shape), "kind": inputs.kind, "size": inputs.size}


def _inputs_from_json(value: Any) -> Inputs:
    """Return the inputs that `_inputs_to_json` described."""
    if isinstance(value, list) and value:
        return tuple(_input_from_json(part) for part in value)
    if isinstance(value, dict) and value.keys() == {"named"}:
        named = value["named"]
        if not (isinstance(named, dict) and named):
            raise DataError(f"inputs: expected inputs by name, got {value!r:.80}")
        return {name: _input_from_json(part) for name, part in named.items()}
    return _input_from_json(value)


def _input_from_json(value: Any) -> InputSpec:
    if not (isinstance(value, dict) and value.keys() == {"shape", "kind", "size"}):
        raise DataError(f"inputs: expected shape, kind and size, got {value!r:.80}")
    shape, kind, size = _shape(value["shape"], "shape"), value["kind"], value["size"]
    if not (size is None or type(size) is int):
        raise DataError(f"size: expected an integer, got {size!r:.80}")
    try:
        return InputSpec(shape, kind, size)
    except InputError as error:
        raise DataError(str(error)) from None


def _shape(shape: Any, what: str) -> Shape:
    if not (isinstance(shape, list) and all(type(n) is int and n > 0 for n in shape)):
        raise DataError(f"{what}: expected a list of positive integers, got {shape!r:.80}")
    return tuple(shape)


def vector_names(state: TrainingState) -> list[str]:
    """Return the names in the file of the vectors of this state's optimizer."""
    vectors = state.optimizer.init(np.zeros(0), np)
    return [f"training_state.{k}" for k in range(len(vectors))]


def _describe(state: TrainingState) -> dict[str, Any]:
    optimizer = to_json(state.optimizer)
    try:
        optimizer_from_json(optimizer)
    except DataError:
        raise InputError(
            f"save(training_state=True): expected an optimizer made of parts of the library, got "
            f"{state.optimizer!r:.80}"
        ) from None
    best = None if state.best is None else list(state.best)
    return {
        "optimizer": optimizer,
        "step": state.step,
        "epoch": state.epoch,
        # finite numbers as such, others as text, which JSON has no numbers for
        "history": {
            name: [v if math.isfinite(v) else str(v) for v in values]
            for name, values in state.history.items()
        },
        "best": best,
        **({"averaged": True} if state.averaged else {}),
    }


def _training(described: Any) -> TrainingState | None:
    if described is None:
        return None
    if not isinstance(described, dict):
        raise DataError(f"training: expected the state of an optimizer, got {described!r:.80}")
    step, epoch = (_count(described, name) for name in ("step", "epoch"))
    optimizer = optimizer_from_json(described.get("optimizer"))
    history, best = described.get("history", {}), described.get("best")
    try:  # absent in files of the first versions
        series = {str(name): [float(v) for v in values] for name, values in history.items()}
        best_so_far = None if best is None else _best(*best)
    except (TypeError, ValueError, AttributeError):
        raise DataError("training: expected the history and the best of a training run") from None
    averaged = described.get("averaged", False)
    if averaged not in (True, False) or (averaged and not isinstance(optimizer, EMA)):
        raise DataError(f"averaged: expected true for an EMA, or nothing, got {averaged!r:.80}")
    return TrainingState(
        optimizer, (), step, epoch, history=series, best=best_so_far, averaged=averaged
    )


def _best(series: Any, cost: Any, maximize: Any, step: Any) -> BestSoFar:
    return BestSoFar(str(series), float(cost), bool(maximize), int(step))


def _count(content: Mapping[str, Any], name: str) -> int:
    count = content.get(name)
    if type(count) is not int or count < 0:
        raise DataError(f"{name}: expected a whole number >= 0, got {count!r:.80}")
    return count


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name}, which is not a JSON number")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a duplicate name in one object")
    return content

"""Write and read checkpoint files: safetensors with JSON, and a checksum of every byte.

A checkpoint is a model file with more in it, so that `bp.load` opens it: the parameters under
their names and the header of a model, the rest of the state of training as JSON in a second entry
of the metadata, and its arrays under names that begin with PREFIX. A third entry is the BLAKE2b
hash of the whole file, computed with zeros in its own place. No pickle, no code is run.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bp_arrays.errors import DataError, InputError
from bp_arrays.formats._header import Header, array_checksum
from bp_arrays.typing import HostArray

VERSION = 1
"""Increased when the meaning of a checkpoint changes; a checkpoint of a later one is refused."""

MODEL, TRAINING, DIGEST = "bp_arrays", "bp_arrays_training", "bp_arrays_digest"
"""The entries of the metadata."""

PREFIX = "training_state."
"""The beginning of the names of arrays that are no parameters of the model."""

DIGITS = 32
BLANK = "0" * DIGITS
_DIGEST_ENTRY = re.compile(rb'"bp_arrays_digest":"([0-9a-f]{32})"')


class LaterVersion(DataError):
    """A checkpoint of a later version of the library."""


class CheckpointContent(NamedTuple):
    """The content of a checkpoint: JSON values, parameters by name, and the other arrays."""

    training: dict[str, Any]
    parameters: dict[str, HostArray]
    arrays: dict[str, HostArray]


def encode_checkpoint(
    header: Header | None,
    training: Mapping[str, Any],
    parameters: Mapping[str, HostArray],
    arrays: Mapping[str, HostArray],
) -> bytes:
    """Return the bytes of a checkpoint file.

    Parameters
    ----------
    header : Header, optional
        The description of the model; None if it cannot be described.
    training : mapping
        JSON values; trees of `packed` values.
    parameters, arrays : mappings of str to contiguous array
        Names of `arrays` begin with PREFIX, those of `parameters` do not.
    """
    from safetensors.numpy import save

    metadata = {
        TRAINING: json.dumps({"version": VERSION, **training}, allow_nan=False),
        DIGEST: BLANK,
    }
    if header is not None:
        checksums = {name: array_checksum(array) for name, array in parameters.items()}
        metadata[MODEL] = replace(header, checksums=checksums).to_json()
    content = bytearray(save({**parameters, **arrays}, metadata=metadata))
    start, stop = _digest_span(content)
    content[start:stop] = hashlib.blake2b(content, digest_size=DIGITS // 2).hexdigest().encode()
    return bytes(content)


def decode_checkpoint(path: Path) -> CheckpointContent:
    """Read a checkpoint file.

    Raises
    ------
    OSError
        If it cannot be read.
    DataError
        If it is damaged, of a later version, or no checkpoint.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = bytearray(path.read_bytes())
    try:
        start, stop = _digest_span(content)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    expected = bytes(content[start:stop]).decode()
    content[start:stop] = BLANK.encode()
    if hashlib.blake2b(content, digest_size=DIGITS // 2).hexdigest() != expected:
        raise DataError(f"{path}: it differs from its checksum; the file is damaged")
    try:
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        training = json.loads(metadata[TRAINING])
        arrays = load(bytes(content))
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise DataError(f"{path}: expected a checkpoint, got {error!s:.80}") from None
    version = training.get("version") if isinstance(training, dict) else None
    if type(version) is not int or not 1 <= version <= VERSION:
        raise LaterVersion(
            f"{path}: expected a checkpoint of version 1 to {VERSION}, got {version!r:.40}; update "
            "bp_arrays with pip install -U bp_arrays"
        )
    return CheckpointContent(
        training,
        {name: array for name, array in arrays.items() if not name.startswith(PREFIX)},
        {name: array for name, array in arrays.items() if name.startswith(PREFIX)},
    )


def _digest_span(content: bytearray) -> tuple[int, int]:
    """Return where the hash stands: once, in the header."""
    length = int.from_bytes(content[:8], "little")
    matches = list(_DIGEST_ENTRY.finditer(content, 8, min(8 + length, len(content))))
    if len(matches) != 1:
        raise DataError("expected a checkpoint with its checksum; the file is damaged, or foreign")
    return matches[0].span(1)


def packed(tree: Any, name: str, arrays: dict[str, HostArray]) -> Any:
    """Return a tree as JSON values; its arrays are added to `arrays` under names below `name`.

    Parameters
    ----------
    tree : None, bool, int, float, str, array, or list, tuple or dict of them
        Names in dicts are strings; tuples come back as lists.
    name : str
    arrays : dict of str to array

    Raises
    ------
    InputError
        For any other value.

    Examples
    --------
    >>> arrays = {}
    >>> packed({"best": math.inf, "order": np.arange(3)}, "training_state.x", arrays)
    {'best': {'$float': 'inf'}, 'order': {'$array': 'training_state.x.order'}}
    >>> list(arrays)
    ['training_state.x.order']
    """
    if isinstance(tree, np.generic):
        tree = tree.item()
    if tree is None or isinstance(tree, (bool, int, str)):
        return tree
    if isinstance(tree, float):
        return tree if math.isfinite(tree) else {"$float": str(tree)}
    if isinstance(tree, np.ndarray) and tree.dtype.kind in "biuf":
        arrays[name] = np.ascontiguousarray(tree).reshape(tree.shape)
        return {"$array": name}
    if isinstance(tree, (list, tuple)):
        return [packed(part, f"{name}.{k}", arrays) for k, part in enumerate(tree)]
    if isinstance(tree, Mapping) and all(isinstance(k, str) and k[:1] != "$" for k in tree):
        return {key: packed(part, f"{name}.{key}", arrays) for key, part in tree.items()}
    raise InputError(
        f"{name.removeprefix(PREFIX)}: expected numbers, text, NumPy arrays of numbers, or lists "
        f"and dicts of them by name, got {tree!r:.60}"
    )


def unpacked(value: Any, arrays: Mapping[str, HostArray]) -> Any:
    """Return the tree that `packed` described.

    >>> unpacked({"best": {"$float": "-inf"}, "k": [1, 2.5]}, {})
    {'best': -inf, 'k': [1, 2.5]}
    """
    if isinstance(value, list):
        return [unpacked(part, arrays) for part in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$float"}:
        return float(value["$float"])
    if value.keys() == {"$array"}:
        return arrays[value["$array"]]
    return {key: unpacked(part, arrays) for key, part in value.items()}

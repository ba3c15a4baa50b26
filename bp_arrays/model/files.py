"""Models as files: safetensors, with the architecture as JSON in the header. No pickle."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bp_arrays.devices import Device
from bp_arrays.errors import DataError, InputError
from bp_arrays.layers import Layer
from bp_arrays.model.architecture import from_json, to_json
from bp_arrays.model.layout import Entry, Layout
from bp_arrays.model.model import Model

SCHEMA = 1
"""Raised when the meaning of the header changes; a file of a later schema is refused."""

KEPT_DTYPES = {"bfloat16": "float32"}
"""Dtypes that NumPy lacks are written as the next one that holds them exactly."""


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model to a file, whole or not at all.

    Parameters
    ----------
    model : Model
    path : path
        An existing file is replaced at the very end; after a failure it is what it was.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written to.
    InputError
        If a layer of your own holds what JSON cannot keep.
    """
    from safetensors.numpy import save as serialize

    header = {
        "schema": SCHEMA,
        "net": to_json(model.net),
        "input_shape": list(model.input_shape),
        "dtype": model.dtype,
    }
    kept = np.dtype(KEPT_DTYPES.get(model.dtype, model.dtype))
    tensors = {
        name: np.ascontiguousarray(value, dtype=kept)
        for name, value in model.host_parameters().items()
    }
    metadata = {"bp_arrays": json.dumps(header)}
    metadata |= {f"user.{key}": str(value) for key, value in model.metadata.items()}
    write_atomically(path, serialize(tensors, metadata=metadata))


def load(
    path: str | os.PathLike[str],
    device: str | Device = "auto",
    *,
    layers: Sequence[type[Layer]] = (),
) -> Model:
    """Read a model that `Model.save` wrote, onto any device.

    Parameters
    ----------
    path : path
    device : str or Device, default "auto"
    layers : sequence of Layer classes, optional
        Your own layer classes that the model uses.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it is truncated, damaged, not a model of this library, or of a later version.
    DeviceUnavailableError
        If the device cannot compute here.

    Examples
    --------
    >>> import bp_arrays as bp, pathlib, tempfile
    >>> model = bp.Model(bp.Linear(1), input_shape=(2,), device="cpu", seed=3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(pathlib.Path(folder, "m.safetensors"))
    ...     again = bp.load(pathlib.Path(folder, "m.safetensors"), device="cpu")
    >>> bool((again.parameters["weight"] == model.parameters["weight"]).all())
    True
    """
    tensors, metadata = _read(Path(path))
    try:
        header = json.loads(metadata["bp_arrays"])
        schema, dtype = header["schema"], header["dtype"]
        tree, input_shape = header["net"], tuple(header["input_shape"])
    except (KeyError, TypeError, ValueError, RecursionError):
        raise DataError(
            f"{path} is a safetensors file but not a model written by bp_arrays: "
            "its header lacks the architecture"
        ) from None
    if schema != SCHEMA:
        raise DataError(
            f"{path} has model schema {schema!r}, this version reads {SCHEMA}: "
            "update bp_arrays with pip install -U bp_arrays"
        )
    net = from_json(tree, {layer.__name__: layer for layer in layers})
    _check_tensors(path, net, input_shape, tensors)
    model = Model.from_values(
        net, input_shape, lambda entry: tensors[entry.name], device=device, dtype=dtype
    )
    model.metadata = {
        key.removeprefix("user."): value
        for key, value in metadata.items()
        if key.startswith("user.")
    }
    return model


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Put the content where path says; what stood there is replaced at the very end."""
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)  # mkstemp makes files only their owner can read
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def _read(path: Path) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"there is no model file {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is not a readable safetensors file (truncated or damaged?): {error}"
        ) from None
    return tensors, metadata


def _check_tensors(path: Any, net: Layer, input_shape: Any, tensors: dict[str, Any]) -> None:
    """Compare the file's arrays with what the architecture asks for, before using either."""
    try:
        entries: dict[str, Entry] = {e.name: e for e in Layout(net.init(input_shape)[0]).entries}
    except (InputError, TypeError, ValueError) as error:
        raise DataError(f"{path} holds an architecture that does not fit: {error}") from None
    if set(entries) != set(tensors):
        missing = sorted(set(entries) ^ set(tensors))[:3]
        raise DataError(f"{path}: arrays and architecture differ, at {', '.join(missing)}")
    for name, entry in entries.items():
        if tensors[name].shape != entry.shape or tensors[name].dtype.kind != "f":
            raise DataError(
                f"{path}: {name} should have shape {entry.shape} and a float dtype, but has "
                f"{tensors[name].shape} and {tensors[name].dtype}"
            )

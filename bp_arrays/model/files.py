"""Models as files: safetensors, with the architecture as JSON in the header. No pickle."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bp_arrays.devices import Device, device as find_device
from bp_arrays.errors import DataError, InputError
from bp_arrays.layers import Layer
from bp_arrays.model.architecture import classes_by_name
from bp_arrays.model.header import STORED_AS, Header
from bp_arrays.model.layout import Layout
from bp_arrays.model.model import Model
from bp_arrays.model.training_state import TrainingState
from bp_arrays.typing import Shape

OURS = "bp_arrays"
"""The one entry of the file's metadata. One: safetensors writes several in random order."""

MONITORED = "training_state.monitored"
"""The array of the losses that a training watched, one for each epoch."""

HEADER_LIMIT = 8 * 2**20
"""Bytes a file's header may have. As Python objects it takes some twenty times that."""


def save(model: Model, path: str | os.PathLike[str], *, training_state: bool = False) -> None:
    """Write a model to a file, whole or not at all.

    Equal models give equal files, byte for byte.

    Parameters
    ----------
    model : Model
    path : path
        An existing file is replaced at the very end; after a failure it is what it was.
    training_state : bool, default False
        Whether the optimizer goes along, with all it remembers.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written to.
    InputError
        If a layer of your own holds what JSON cannot keep; with the training state, if there is
        none or the optimizer is your own.
    """
    from safetensors.numpy import save as serialize

    state: TrainingState | None = model.training_state if training_state else None
    if training_state and state is None:
        raise InputError("training_state=True: this model has none, fit has not trained it")
    header = Header(
        model.net, model.input_shape, model.dtype, int(model.seed), model.metadata, state
    )
    # NumPy has no bfloat16; what came from such a device is float32 already
    kept = np.float32 if model.dtype == "bfloat16" else np.dtype(model.dtype)
    tensors = {
        name: np.ascontiguousarray(value, dtype=kept).reshape(value.shape)
        for name, value in (model.host_parameters() | _remembered(model, state)).items()
    }
    if state is not None:
        tensors[MONITORED] = np.asarray(state.monitored, dtype=np.float64)
    content = serialize(tensors, metadata={OURS: header.to_json()})
    if int.from_bytes(content[:8], "little") > HEADER_LIMIT:
        raise InputError(
            f"this model's description is longer than the {HEADER_LIMIT:,} bytes of a model file"
        )
    write_atomically(path, content)


def load(
    path: str | os.PathLike[str],
    device: str | Device = "auto",
    *,
    dtype: str | None = None,
    layers: Sequence[type[Layer]] = (),
) -> Model:
    """Read a model that `Model.save` wrote, onto any device. No code in the file is run.

    With its training state, if that was saved too: give `fit` the optimizer of the state, and it
    goes on as if it had never stopped.

        model.save("m.safetensors", training_state=True)
        model = bp.load("m.safetensors")
        bp.fit(model, x, t, optimizer=model.training_state.optimizer, ...)

    Parameters
    ----------
    path : path
    device : str or Device, default "auto"
    dtype : str, optional
        Another dtype than the model was saved in, such as "float32" for a bfloat16 model on a
        device that lacks bfloat16.
    layers : sequence of Layer classes, optional
        Your own layer classes that the model uses.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it is truncated, damaged, not a model of this library, or of a later version. Sizes
        are compared with what the file holds before any memory is asked for.
    InputError
        If the device lacks the dtype.
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
    path, own = Path(path), classes_by_name(layers)
    try:
        with _opened(path) as file:
            metadata = file.metadata() or {}
            if OURS not in metadata:
                raise DataError(
                    "a safetensors file, but not a model written by bp_arrays: its header lacks "
                    "the architecture"
                )
            header = Header.from_json(metadata[OURS], own)
            _check_arrays(file, header)
            target, dtype = find_device(device), dtype or header.dtype
            _check_dtype(target, dtype)
            model = Model.from_values(
                header.net,
                header.input_shape,
                lambda entry: file.get_tensor(entry.name),
                device=target,
                dtype=dtype,
            )
            model.seed, model.metadata = header.seed, dict(header.metadata)
            if header.training is not None:
                model.training_state = replace(
                    header.training,
                    vectors=tuple(
                        target.asarray(file.get_tensor(name), dtype)
                        for name in _names(header.training)
                    ),
                    monitored=tuple(file.get_tensor(MONITORED).tolist()),
                )
    except DataError as error:
        raise DataError(f"{path}: {' '.join(str(error).split())}") from None  # one line, always
    return model


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Put the content where path says; what stood there is replaced at the very end.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written to, or the path is a folder's.
    """
    path = Path(os.path.realpath(path))  # what a link points to is replaced, not the link
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} into")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a file to write")
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _opened(path: Path) -> Any:
    """The file as safetensors sees it: header parsed, arrays not yet read."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"there is no model file {path}")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > HEADER_LIMIT:
        raise DataError(
            f"not a readable safetensors file: it claims a header of {length:,} bytes, a model's "
            f"has {HEADER_LIMIT:,} at most"
        )
    try:
        return safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise DataError(
            f"not a readable safetensors file (truncated or damaged?): {error!s:.200}"
        ) from None


def _names(state: TrainingState) -> list[str]:
    """The names in the file of the vectors that this optimizer remembers."""
    remembered = state.optimizer.init(np.zeros(0), np)
    return [f"training_state.{k}" for k in range(len(remembered))]


def _remembered(model: Model, state: TrainingState | None) -> dict[str, np.ndarray[Any, Any]]:
    if state is None:
        return {}
    vectors = map(model.device.to_numpy, state.vectors)
    return dict(zip(_names(state), vectors, strict=True))


def _check_arrays(file: Any, header: Header) -> None:
    """Compare the file's arrays with what the header asks for, before reading any."""
    expected = _expected(header)
    held = set(file.keys())
    if held != set(expected):
        names = sorted(held ^ set(expected))
        some = ", ".join(name[:60] for name in names[:3])
        raise DataError(f"arrays and architecture differ at {len(names)} name(s): {some}")
    for name, (shape, dtype) in expected.items():
        array = file.get_slice(name)
        found, stored = tuple(array.get_shape()), array.get_dtype()
        if found != shape or stored != dtype:
            raise DataError(
                f"{name} should be {dtype} of shape {shape}, but is {stored} of shape {found}"
            )


def _expected(header: Header) -> dict[str, tuple[Shape, str]]:
    """The shape and the stored dtype of every array that belongs to this header."""
    try:
        layout = Layout(header.net.init(header.input_shape)[0])
    except Exception as error:  # the layers never expected these sizes; yours may raise anything
        raise DataError(f"the layers do not fit each other: {error!s:.200}") from None
    stored = STORED_AS[header.dtype]
    expected = {entry.name: (entry.shape, stored) for entry in layout.entries}
    if header.training is not None:
        vector = ((layout.trainable_size,), stored)
        expected |= dict.fromkeys(_names(header.training), vector)
        expected[MONITORED] = ((header.training.epoch,), "F64")
    return expected


def _check_dtype(device: Device, dtype: str) -> None:
    try:
        device.dtype(dtype)
    except InputError as error:
        raise InputError(f"{error}; load(path, dtype=...) reads a model in another one") from None

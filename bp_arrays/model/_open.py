"""Make models of what other programs wrote: a model file, a PyTorch module."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bp_arrays.devices import Device, device as find_device
from bp_arrays.errors import DataError, InputError
from bp_arrays.formats import (
    MONITORED,
    STORED_AS,
    Header,
    classes_by_name,
    from_module,
    open_model_file,
    vector_names,
)
from bp_arrays.inputs import as_inputs, only_shape, shapes_of
from bp_arrays.layers import Layer
from bp_arrays.model._layout import Layout
from bp_arrays.model._model import Model
from bp_arrays.typing import Shape


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
    with open_model_file(Path(path), classes_by_name(layers)) as file:
        header = file.header
        file.check_arrays(_expected_arrays(header))
        target, dtype = find_device(device), dtype or header.dtype
        _check_dtype(target, dtype)
        model = Model.from_values(
            header.net,
            header.inputs,
            lambda entry: file.read(entry.name),
            device=target,
            dtype=dtype,
        )
        model.seed, model.metadata = header.seed, dict(header.metadata)
        state = header.training
        if state is not None:
            model.training_state = replace(
                state,
                vectors=tuple(
                    target.asarray(file.read(name), dtype) for name in vector_names(state)
                ),
                monitored=tuple(file.read(MONITORED).tolist()),
            )
    return model


def _expected_arrays(header: Header) -> dict[str, tuple[Shape, str]]:
    """The shape and the stored dtype of every array that belongs to this header."""
    try:
        layout = Layout(header.net.init(shapes_of(header.inputs))[0])
    except Exception as error:  # custom layers may raise anything for sizes they never expected
        raise DataError(f"the layers do not fit each other: {error!s:.200}") from None
    stored = STORED_AS[header.dtype]
    expected = {entry.name: (entry.shape, stored) for entry in layout.entries}
    if header.training is not None:
        vector = ((layout.trainable_size,), stored)
        expected |= dict.fromkeys(vector_names(header.training), vector)
        expected[MONITORED] = ((header.training.epoch,), "F64")
    return expected


def _check_dtype(device: Device, dtype: str) -> None:
    try:
        device.dtype(dtype)
    except InputError as error:
        raise InputError(f"{error}; load(path, dtype=...) reads a model in another one") from None


def from_torch(module: Any, input_shape: Shape | int, device: str | Device = "auto") -> Model:
    """A model that computes what a PyTorch module does, with its weights, in its dtype.

        net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh())
        model = bp.from_torch(net, input_shape=4)

    Parameters
    ----------
    module : torch.nn.Sequential
        Of modules that this library has too, nested as deep as you like, on any device; or one
        such module. It is not changed, and nothing is shared with it.
    input_shape : tuple of int or int
        The shape of one sample, without the batch.
    device : str or Device, default "auto"
        Where the model is to live.

    Returns
    -------
    Model
        Its parameters are named by position, "0.weight", and are all trained: `requires_grad`
        is not kept. Softplus is the exact function, PyTorch's is a straight line from 20 on.

    Raises
    ------
    InputError
        If a module or a setting has no counterpart here, the modules do not fit the input,
        several share a parameter, have hooks or different dtypes, or the device lacks theirs.
    DeviceUnavailableError
        If the device cannot compute here.
    """
    shape = only_shape(as_inputs(input_shape), "from_torch")
    net, values, dtype = from_module(module, shape)
    return Model.from_values(
        net, shape, lambda entry: values[entry.name], device=device, dtype=dtype
    )

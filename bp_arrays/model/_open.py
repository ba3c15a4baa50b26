"""Open model files and convert PyTorch modules to models."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bp_arrays import formats
from bp_arrays.activations import LogSoftmax, Sigmoid, Softmax
from bp_arrays.checks import argument_error
from bp_arrays.devices import Device, device as find_device
from bp_arrays.errors import DataError, InputError, warn
from bp_arrays.formats import (
    LOSS_SCALING,
    MONITORED,
    STORED_AS,
    Header,
    classes_by_name,
    open_model_file,
    vector_names,
)
from bp_arrays.inputs import InputSpec, as_inputs, only_shape, shapes_of
from bp_arrays.layers import Layer
from bp_arrays.losses import last_layer
from bp_arrays.model._layout import Layout
from bp_arrays.model._model import Model, check_compute_dtype
from bp_arrays.optimizers import scales_loss
from bp_arrays.typing import Shape


def load(
    path: str | os.PathLike[str],
    device: str | Device = "auto",
    *,
    dtype: str | None = None,
    compute_dtype: str | None = "stored",
    layers: Sequence[type[Layer]] = (),
) -> Model:
    """Read a model written by `Model.save` onto any device. No code in the file is run.

    The training state is read too, if it was saved: pass its optimizer to `fit`, and training
    continues as if it had never stopped.

        model.save("m.safetensors", training_state=True)
        model = bp.load("m.safetensors")
        bp.fit(model, x, t, optimizer=model.training_state.optimizer, ...)

    Parameters
    ----------
    path : path
    device : str or Device, default "auto"
    dtype : str, optional
        By default the dtype in which the model was saved. Use "float32" for a bfloat16 model on a
        device that lacks bfloat16.
    compute_dtype : str or None, default "stored"
        By default that in which the model was saved; "bfloat16" or "float16" for mixed precision,
        None to compute in float32, for example on a device that lacks the other.
    layers : sequence of Layer classes, optional
        The custom layer classes of the model.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it is truncated, damaged, not a model of this library, or of a later version. Sizes
        are compared with those in the file before memory is allocated.
    InputError
        If the device lacks the dtype or the compute dtype.
    DeviceUnavailableError
        If the device cannot compute on this machine.

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
        if compute_dtype == "stored":
            compute_dtype = header.compute_dtype
            if compute_dtype is not None and dtype != "float32":
                expected = f"'float32' for a model that computes in {compute_dtype}"
                advice = "pass compute_dtype=None to compute in the dtype itself"
                raise argument_error("load", "dtype", dtype, expected, advice)
        check_compute_dtype("load", compute_dtype, dtype)
        if compute_dtype is not None:
            _check_dtype(target, compute_dtype, "compute_dtype=None) computes in float32")
        try:
            model = Model.from_values(
                header.net,
                header.inputs,
                lambda entry: file.read(entry.name),
                device=target,
                dtype=dtype,
                compute_dtype=compute_dtype,
            )
        except InputError as error:  # a value that its parameter, or the dtype, does not have
            raise DataError(str(error)) from None
        model.seed, model.metadata = header.seed, dict(header.metadata)
        state = header.training
        if state is not None:
            stored = replace(
                state,
                vectors=tuple(map(file.read, vector_names(state))),
                monitored=tuple(file.read(MONITORED).tolist()),
                loss_scaling=file.read(LOSS_SCALING) if scales_loss(header.compute_dtype) else None,
            )
            model.training_state = stored.moved_to(target, dtype, compute_dtype)
    return model


def _expected_arrays(header: Header) -> dict[str, tuple[Shape, tuple[str, ...]]]:
    """Return the shape and the stored dtypes of every array that this header requires."""
    try:
        layout = Layout(header.net.init(shapes_of(header.inputs))[0])
    except Exception as error:  # a custom layer may raise anything for the sizes of a damaged file
        raise DataError(f"the layers do not fit each other: {error!s:.200}") from None
    stored = STORED_AS[header.dtype]
    expected: dict[str, tuple[Shape, tuple[str, ...]]]
    expected = {entry.name: (entry.shape, (stored,)) for entry in layout.entries}
    if header.training is not None:
        # of a model in float16 they are float32, and were float16 in the first versions
        dtypes = ("F32", "F16") if stored == "F16" else (stored,)
        vector = ((layout.trainable_size,), dtypes)
        expected |= dict.fromkeys(vector_names(header.training), vector)
        expected[MONITORED] = ((header.training.epoch,), ("F64",))
        if scales_loss(header.compute_dtype):
            expected[LOSS_SCALING] = ((4,), ("F32",))
    return expected


def _check_dtype(
    device: Device, dtype: str, advice: str = "dtype=...) converts a model to another one"
) -> None:
    try:
        device.dtype(dtype)
    except InputError as error:
        raise InputError(f"{error}; load(path, {advice}") from None


def from_torch(
    module: Any, input_shape: Shape | int | InputSpec, device: str | Device = "auto"
) -> Model:
    """Return a model that computes what a PyTorch module does, with its weights and dtype.

        net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh())
        model = bp.from_torch(net, input_shape=4)

    Parameters
    ----------
    module : torch.nn.Sequential
        A nest of modules that this library has too, on any device; or one such module. It is not
        changed, and the model shares no memory with it.
    input_shape : tuple of int, int, or InputSpec
        The shape of one sample, without the batch; of images and signals with the channels last,
        (28, 28, 1), as the model expects them. For indices `bp.InputSpec(shape, "index")`.
    device : str or Device, default "auto"
        The device of the model.

    Returns
    -------
    Model
        Its parameters are named by position, "0.weight", and are all trained: `requires_grad`
        is ignored. Rows of a Linear weight after a flattened image are reordered. Softplus is
        the exact function, PyTorch's is a straight line from 20 on.

    Raises
    ------
    InputError
        If a module or a setting has no counterpart, the modules do not fit the input, share a
        parameter, have hooks or different dtypes, or the device lacks their dtype.
    DeviceUnavailableError
        If the device cannot compute on this machine.

    Warns
    -----
    BpArraysWarning
        If the module ends in a softmax, log-softmax or sigmoid, which CrossEntropy and
        BinaryCrossEntropy of this library include: it fits prediction, not training with these.
    """
    inputs = as_inputs(input_shape)
    shape = only_shape(inputs, "from_torch", indices=True)
    net, values, dtype = formats.from_module(module, shape)
    _warn_of_probabilities(net)
    return Model.from_values(
        net, inputs, lambda entry: values[entry.name], device=device, dtype=dtype
    )


TRAINED_WITH: dict[type[Layer], str] = {
    Softmax: "CrossEntropy",
    LogSoftmax: "CrossEntropy",
    Sigmoid: "BinaryCrossEntropy",
}
"""The loss for the outputs before these activations; PyTorch has losses for those after them."""


def _warn_of_probabilities(net: Layer) -> None:
    """Warn if a module ends in an activation that the losses of this library include."""
    end = last_layer(net)
    if end is not None and type(end[1]) in TRAINED_WITH:
        loss = TRAINED_WITH[type(end[1])]
        warn(
            f"from_torch: the module ends in {type(end[1]).__name__}; that is right for "
            f"predicting, but to train the model with {loss}, which includes it, convert the "
            "module without its last layer"
        )

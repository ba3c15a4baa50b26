"""Models to and from other tools: the doors of the room `exchange`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bp_arrays.devices import Device
from bp_arrays.exchange.onnx_model import onnx_bytes
from bp_arrays.exchange.pytorch import from_module, to_module
from bp_arrays.layers import Layer
from bp_arrays.model.files import write_atomically
from bp_arrays.model.model import Model, as_shape
from bp_arrays.typing import ParameterTree, Shape


def to_onnx(
    model: Model,
    path: str | os.PathLike[str],
    operators: Mapping[type[Layer], Callable[..., Any]],
) -> None:
    """Write the model as ONNX; see `Model.to_onnx`."""
    content = onnx_bytes(
        model.net,
        _host_tree(model),
        model.input_shape,
        model.dtype,
        metadata=model.metadata,
        operators=operators,
    )
    write_atomically(path, content)


def _host_tree(model: Model) -> ParameterTree:
    """The parameters nested as the layers are, as NumPy arrays."""
    theta, fixed = map(model.device.to_numpy, (model.vector, model.fixed_vector))
    return model.layout.tree(theta, fixed, np)


def to_torch(model: Model) -> Any:
    """The model as PyTorch modules; see `Model.to_torch`."""
    return to_module(model.net, _host_tree(model), model.input_shape, model.dtype)


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
    shape = as_shape(input_shape)
    net, values, dtype = from_module(module, shape)
    return Model.from_values(
        net, shape, lambda entry: values[entry.name], device=device, dtype=dtype
    )

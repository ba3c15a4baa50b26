"""What a batch must be before it is let in, and the way to the device."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bp_arrays.devices import Device
from bp_arrays.errors import InputError
from bp_arrays.inputs import (
    check_batch_shape,
    check_finite,
    check_targets,
    check_weights,
    index_dtype,
    is_host_data,
    on_host,
    placed,
    to_device,
    to_host_array,
)
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.typing import Array, HostArray, Shape


class Door:
    """The way to a device: samples and values in one dtype, classes as integers.

    Parameters
    ----------
    device : Device
    dtype : str
    """

    def __init__(self, device: Device, dtype: str) -> None:
        self.device, self.dtype = device, dtype
        device.require().dtype(dtype)

    def check_shape(self, shape: Shape, what: str) -> None:
        """Raise InputError unless samples of that shape, (rows, ...), may come in."""
        if len(shape) == 0:
            raise InputError(f"{what}: expected an array (rows, ...), got a single number")

    def has_targets(self, t: Any) -> bool:
        """Whether there are targets."""
        return t is not None

    def check_targets(self, t: Any, rows: int) -> tuple[HostArray, str]:
        """Targets, looked at on the host where they are, and the dtype the device needs.

        Raises
        ------
        InputError, DeviceMismatchError
            If there is not one for each row, one is not finite, or they are on another device.
        """
        host = on_host(t, self.device, "t")
        if host.ndim == 0 or host.shape[0] != rows:
            raise InputError(
                f"t: expected targets for {rows} rows, as x has, got shape {tuple(host.shape)}"
            )
        check_finite(host, "t")
        return host, self.dtype if host.dtype.kind == "f" else index_dtype(self.device)

    def batch_inputs(self, x: Any) -> Array:
        """Samples that were checked, on the device."""
        return to_device(x, self.device, self.dtype, tuple(x.shape[1:]))

    def checked_inputs(self, x: Any, what: str = "x") -> Array:
        """A batch of samples, checked; numbers of the host must be finite.

        Those on a device are not waited for: a loss that is not finite will tell.
        """
        host = is_host_data(x)
        if host:
            x = to_host_array(x, what)
        self.check_shape(tuple(x.shape), what)
        if not math.prod(x.shape):
            raise InputError(f"{what} is empty: expected at least one row, got {tuple(x.shape)}")
        if host:
            check_finite(x, what)
        return self.batch_inputs(x)

    def checked_targets(self, t: Any, rows: int) -> Array | None:
        """A batch of targets, checked, on the device; None stays None."""
        if not self.has_targets(t):
            return None
        host, dtype = self.check_targets(t, rows)
        return placed(t, host, self.device, dtype)

    def checked_weights(self, weight: Any, rows: int) -> Array | None:
        """A batch of sample weights, checked, on the device; None stays None."""
        if weight is None:
            return None
        return placed(weight, check_weights(weight, rows, self.device), self.device, self.dtype)


class ModelDoor(Door):
    """The way into a model under a loss: its shapes, its device, its dtype.

    Parameters
    ----------
    model : Model
    loss : Loss
    """

    def __init__(self, model: Model, loss: Loss) -> None:
        super().__init__(model.device, model.dtype)
        self.model, self.loss = model, loss

    def check_shape(self, shape: Shape, what: str) -> None:
        check_batch_shape(shape, self.model.input_shape, what)

    def has_targets(self, t: Any) -> bool:
        if t is None:
            raise InputError(
                "t: expected targets; without them, x must be bp.data.Batches or an iterable of "
                "batches (x, t)"
            )
        return True

    def check_targets(self, t: Any, rows: int) -> tuple[HostArray, str]:
        return check_targets(t, rows, self.loss, self.model.output_shape, self.device, self.dtype)


def is_mapped(array: Any) -> bool:
    """Whether an array lies in a file, of which the parts asked for are read."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False

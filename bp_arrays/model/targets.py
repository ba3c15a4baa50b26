"""What may come in as targets and weights, checked against the loss and brought to the device."""

from __future__ import annotations

from typing import Any

import numpy as np

from bp_arrays.devices import Device
from bp_arrays.errors import InputError
from bp_arrays.losses import Loss
from bp_arrays.model.doors import check_same_device, is_host_data, to_host_array
from bp_arrays.typing import Array, Shape

HostArray = np.ndarray[Any, Any]


def prepare_targets(
    t: Any, rows: int, loss: Loss, output_shape: Shape, device: Device, dtype: str
) -> Array:
    """Targets on the device: classes as integers, anything else in the model's dtype.

    For one output, (rows,) is taken as (rows, 1).

    Raises
    ------
    InputError, DeviceMismatchError
        If the number of rows or the shape is wrong, a class is out of range, a value is NaN or
        infinite, or t is an array of another device.
    """
    host = _on_host(t, device, "t")
    if host.ndim == 0 or host.shape[0] != rows:
        raise InputError(
            f"t: expected targets for {rows} rows, as x has, got shape {tuple(host.shape)}"
        )
    if host.shape == (rows,) and output_shape == (1,) and not loss.takes_classes:
        host = host.reshape(rows, 1)
    loss.check_shapes((rows, *output_shape), tuple(host.shape))
    if host.ndim < len(output_shape) + 1:
        _check_classes(host, output_shape[-1])
        return _there(t, host, device, index_dtype(device))
    _check_finite(host, "t")
    return _there(t, host, device, dtype)


def prepare_weights(weight: Any, rows: int, device: Device, dtype: str) -> Array | None:
    """Sample weights (rows,) on the device; None stays None.

    Raises
    ------
    InputError, DeviceMismatchError
        If there is not one finite weight of 0 or more for each row, or all are 0.
    """
    if weight is None:
        return None
    host = _on_host(weight, device, "sample_weight")
    if host.shape != (rows,):
        raise InputError(f"sample_weight: expected shape ({rows},), got {tuple(host.shape)}")
    _check_finite(host, "sample_weight")
    if host.min() < 0:
        row = int(np.argmax(host < 0))
        raise InputError(f"sample_weight[{row}] is {host[row]}: weights must be 0 or more")
    if not host.any():
        raise InputError("sample_weight: all weights are 0, so no sample counts")
    return _there(weight, host, device, dtype)


def _on_host(value: Any, device: Device, what: str) -> HostArray:
    if is_host_data(value):
        return np.asarray(to_host_array(value, what))
    check_same_device(value, device, what)
    return device.to_numpy(value)


def _there(given: Any, host: HostArray, device: Device, dtype: str) -> Array:
    """The array given, if it is what is needed already, else a copy of the host's."""
    target = device.dtype(dtype)
    if not is_host_data(given) and given.dtype == target and tuple(given.shape) == host.shape:
        return given
    return device.asarray(host, dtype)


def _check_classes(t: HostArray, classes: int) -> None:
    if t.dtype.kind == "f":
        _check_finite(t, "t")
        odd = t != np.floor(t)
        if odd.any():
            row = int(np.argmax(odd))
            raise InputError(
                f"t[{row}] is {t[row]}: classes must be integers from 0 to {classes - 1}"
            )
    outside = (t < 0) | (t >= classes)
    if outside.any():
        row = int(np.argmax(outside))
        raise InputError(
            f"t[{row}] is {t[row]}: the model has {classes} outputs, so classes must be "
            f"integers from 0 to {classes - 1}"
        )


def _check_finite(values: HostArray, what: str) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = np.argwhere(~np.isfinite(values))[0]
        place = ", ".join(map(str, bad))
        raise InputError(f"{what}[{place}] is {values[tuple(bad)]}: it must be finite")


def index_dtype(device: Device) -> str:
    """The widest signed integer a device has: JAX has no int64 unless it is told to."""
    try:
        device.dtype("int64")
    except InputError:
        return "int32"
    return "int64"

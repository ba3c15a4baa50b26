"""What may come in as targets and weights, checked against the loss and brought to the device."""

from __future__ import annotations

from typing import Any

import numpy as np

from bp_arrays.devices import Device
from bp_arrays.errors import InputError
from bp_arrays.inputs._arrays import (
    check_same_device,
    first_not_finite,
    is_host_data,
    pieces,
    to_host_array,
)
from bp_arrays.losses import Loss
from bp_arrays.typing import Array, HostArray, Shape


def check_targets(
    t: Any, rows: int, loss: Loss, output_shape: Shape, device: Device, dtype: str
) -> tuple[HostArray, str]:
    """Targets as the loss takes them, read where they are, and the dtype the device needs.

    For one output, (rows,) is taken as (rows, 1). What is on disk is read piece by piece.

    Raises
    ------
    InputError, DeviceMismatchError
        As `prepare_targets`.
    """
    host = on_host(t, device, "t")
    if host.ndim == 0 or host.shape[0] != rows:
        raise InputError(
            f"t: expected targets for {rows} rows, as x has, got shape {tuple(host.shape)}"
        )
    if host.shape == (rows,) and output_shape == (1,) and not loss.takes_classes:
        host = host.reshape(rows, 1)
    loss.check_shapes((rows, *output_shape), tuple(host.shape))
    if host.ndim < len(output_shape) + 1:
        _check_classes(host, output_shape[-1])
        return host, index_dtype(device)
    check_finite(host, "t")
    return host, dtype


def prepare_targets(
    t: Any, rows: int, loss: Loss, output_shape: Shape, device: Device, dtype: str
) -> Array:
    """Targets on the device: classes as integers, anything else in the model's dtype.

    Raises
    ------
    InputError, DeviceMismatchError
        If the number of rows or the shape is wrong, a class is out of range, a value is NaN or
        infinite, or t is an array of another device.
    """
    host, needed = check_targets(t, rows, loss, output_shape, device, dtype)
    return placed(t, host, device, needed)


def check_weights(weight: Any, rows: int, device: Device) -> HostArray:
    """Sample weights (rows,), read where they are.

    Raises
    ------
    InputError, DeviceMismatchError
        If there is not one finite weight of 0 or more for each row.
    """
    host = on_host(weight, device, "sample_weight")
    if host.shape != (rows,):
        raise InputError(f"sample_weight: expected shape ({rows},), got {tuple(host.shape)}")
    check_finite(host, "sample_weight")
    if rows and host.min() < 0:
        row = int(np.argmax(host < 0))
        raise InputError(f"sample_weight[{row}] is {host[row]}: weights must be 0 or more")
    return host


def prepare_weights(weight: Any, rows: int, device: Device, dtype: str) -> Array | None:
    """Sample weights (rows,) on the device; None stays None.

    Raises
    ------
    InputError, DeviceMismatchError
        If there is not one finite weight of 0 or more for each row, or all are 0.
    """
    if weight is None:
        return None
    host = check_weights(weight, rows, device)
    if not host.any():
        raise InputError("sample_weight: all weights are 0, so no sample counts")
    return placed(weight, host, device, dtype)


def on_host(value: Any, device: Device, what: str) -> HostArray:
    """Numbers of the host or of the device, to be looked at on the host.

    Raises
    ------
    InputError, DeviceMismatchError
        If they are no numbers, or of another device.
    """
    if is_host_data(value):
        return np.asarray(to_host_array(value, what))
    check_same_device(value, device, what)
    return device.to_numpy(value)


def placed(given: Any, host: HostArray, device: Device, dtype: str) -> Array:
    """The array given, if it is what is needed already, else a copy of the host's."""
    target = device.dtype(dtype)
    if not is_host_data(given) and given.dtype == target and tuple(given.shape) == host.shape:
        return given
    return device.asarray(host, dtype)


def check_finite(values: Any, what: str) -> None:
    """Raise InputError, naming the place, if a number on the host is NaN or infinite."""
    bad = first_not_finite(values)
    if bad is not None:
        raise InputError(f"{what}[{', '.join(map(str, bad))}] is {values[bad]}: it must be finite")


def _check_classes(t: HostArray, classes: int) -> None:
    check_finite(t, "t")
    for start, part in pieces(t):
        if part.dtype.kind == "f" and (odd := part != np.floor(part)).any():
            row = int(np.argmax(odd))
            raise InputError(
                f"t[{start + row}] is {part[row]}: classes must be integers from 0 to {classes - 1}"
            )
        outside = (part < 0) | (part >= classes)
        if outside.any():
            row = int(np.argmax(outside))
            raise InputError(
                f"t[{start + row}] is {part[row]}: the model has {classes} outputs, so classes "
                f"must be integers from 0 to {classes - 1}"
            )


def index_dtype(device: Device) -> str:
    """The widest signed integer a device has: JAX has no int64 unless it is told to."""
    try:
        device.dtype("int64")
    except InputError:
        return "int32"
    return "int64"

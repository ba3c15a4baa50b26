"""Check targets and sample weights against the loss, and move them to a device."""

from __future__ import annotations

from typing import Any

import numpy as np

from bp_arrays.devices import Device
from bp_arrays.errors import InputError
from bp_arrays.inputs._arrays import (
    as_numpy,
    check_finite,
    is_host_data,
    place,
    value_at,
)
from bp_arrays.inputs._samples import first_bad_index, index_dtype
from bp_arrays.losses import Loss
from bp_arrays.typing import Array, HostArray, Shape


def check_targets(
    t: Any, rows: int, loss: Loss | None, output_shape: Shape, device: Device, dtype: str
) -> tuple[HostArray, str]:
    """Return targets as the loss takes them, on the host, and the dtype the device needs.

    For one output, (rows,) is taken as (rows, 1). What is on disk is read piece by piece. Without
    a loss, targets are any finite numbers, one or more for each row.

    Raises
    ------
    InputError, DeviceMismatchError
        As `prepare_targets`.
    """
    host = as_numpy(t, "t", device)
    if host.ndim == 0 or host.shape[0] != rows:
        raise InputError(
            f"t: expected targets for {rows} rows, as x has, got shape {tuple(host.shape)}"
        )
    if loss is None:
        check_finite(host, "t")
        return host, dtype if host.dtype.kind == "f" else index_dtype(device)
    if host.shape == (rows,) and output_shape == (1,) and not loss.takes_classes:
        host = host.reshape(rows, 1)
    loss.check_shapes((rows, *output_shape), tuple(host.shape))
    if host.ndim < len(output_shape) + 1:
        _check_classes(host, output_shape[-1], device, loss)
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
    return target_on_device(t, host, device, needed)


def check_weights(weight: Any, rows: int, device: Device, positions: Shape = ()) -> HostArray:
    """Sample weights (rows,), or (rows, *positions) for each position, read where they are.

    Raises
    ------
    InputError, DeviceMismatchError
        If there is not one finite weight of 0 or more for each row, or for each position.
    """
    host = as_numpy(weight, "sample_weight", device)
    if host.shape not in ((rows,), (rows, *positions)):
        also = f" or {(rows, *positions)}" if positions else ""
        raise InputError(f"sample_weight: expected shape ({rows},){also}, got {tuple(host.shape)}")
    check_finite(host, "sample_weight")
    if rows and host.min() < 0:
        index = tuple(map(int, np.argwhere(host < 0)[0]))
        raise InputError(
            f"{place('sample_weight', index)} is {host[index]}: weights must be 0 or more"
        )
    return host


def prepare_weights(
    weight: Any, rows: int, device: Device, dtype: str, positions: Shape = ()
) -> Array | None:
    """Sample weights (rows,), or (rows, *positions), on the device; None stays None.

    Raises
    ------
    InputError, DeviceMismatchError
        If there is not one finite weight of 0 or more for each row, or all are 0.
    """
    if weight is None:
        return None
    host = check_weights(weight, rows, device, positions)
    if not host.any():
        raise InputError("sample_weight: all weights are 0, so no sample counts")
    return target_on_device(weight, host, device, dtype)


def target_on_device(value: Any, host: HostArray, device: Device, dtype: str) -> Array:
    """Return targets or weights on the device: the array passed, if it is right already.

    `host` is the same on the host, checked.
    """
    target = device.dtype(dtype)
    if not is_host_data(value) and value.dtype == target and tuple(value.shape) == host.shape:
        return device.detached(value)
    return device.asarray(host, dtype)


def _check_classes(t: HostArray, classes: int, device: Device, loss: Loss) -> None:
    check_finite(t, "t")
    index = first_bad_index(t, device, classes, counted=loss.counted)
    if index is None:
        return
    value = value_at(t, index)
    many = "" if value != np.floor(value) else f"the model has {classes} outputs, so "
    raise InputError(
        f"{place('t', index)} is {value}: {many}classes must be integers from 0 to {classes - 1}"
    )

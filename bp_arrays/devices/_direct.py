"""Arrays of a layer or loss that is called directly, without a model: on the device of the first.

value, delta = bp.L2Loss()([[0.3, 0.7]], [[0.0, 1.0]])
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from bp_arrays.checks import array_error
from bp_arrays.devices._device import HOST, Device, device_of_or_none, name_of_dtype
from bp_arrays.devices._libraries import library
from bp_arrays.errors import DeviceMismatchError, InputError
from bp_arrays.trees import Tree, leaves
from bp_arrays.typing import Array, HostArray, Namespace


def direct_values(where: str, name: str, x: Any, like: Array = None) -> Array:
    """Return x as floating-point numbers on the device and in the dtype of `like`.

    Without `like`: an array stays where it is, anything else becomes NumPy; numbers that are not
    floating-point become float64.

    Raises
    ------
    InputError, DeviceMismatchError
        If x holds no real numbers, or is on another device than `like`.
    """
    array = direct_array(where, name, x, like)
    xp = namespace_of(array)
    if not xp.isdtype(array.dtype, ("real floating", "integral", "bool")):
        raise array_error(where, name, "real numbers", f"dtype {array.dtype}")
    if like is not None:
        return xp.astype(array, like.dtype)
    return array if xp.isdtype(array.dtype, "real floating") else xp.astype(array, xp.float64)


def direct_classes(where: str, t: Any, like: Array, size: int | None, counted: Any) -> Array:
    """Return class numbers as integers on the device of `like`.

    Parameters
    ----------
    size : int or None
        The number of classes; None for any number.
    counted : function
        From class numbers to the mask of those that count, or None if all do.

    Raises
    ------
    InputError, DeviceMismatchError
        For numbers that are no classes; for arrays on another device.
    """
    return _whole_numbers(where, "t", direct_array(where, "t", t, like), "classes", size, counted)


def direct_indices(where: str, name: str, x: Any, size: int) -> Array:
    """Return indices of `size` rows as integers on the device of x, NumPy for lists.

    Raises
    ------
    InputError
        For numbers that are no indices.
    """
    array = direct_array(where, name, x)
    return _whole_numbers(where, name, array, "indices", size, lambda host: None)


def _whole_numbers(
    where: str, name: str, array: Array, what: str, size: int | None, counted: Any
) -> Array:
    xp, device = namespace_of(array), device_of_or_none(array)
    if device is not None:
        host = device.to_numpy(array)
        wrong = (host != np.floor(host)) | (host < 0)
        if size is not None:
            wrong |= host >= size
        mask = counted(host)
        wrong = wrong if mask is None else wrong & np.asarray(mask)
        if wrong.any():
            index = tuple(map(int, np.argwhere(wrong)[0]))
            numbers = "whole numbers from 0" if size is None else f"0 to {size - 1}"
            raise InputError(
                f"{where}({name}=): expected {what} {numbers}, got {host[index]} at "
                f"{name}[{', '.join(map(str, index))}]"
            )
    is_integer = xp.isdtype(array.dtype, "integral")
    return array if is_integer else xp.astype(array, xp.asarray([0]).dtype)


def namespace_of(array: Array) -> Namespace:
    """Return the functions of an array, also of a library that is not registered."""
    device = device_of_or_none(array)
    return array.__array_namespace__() if device is None else device.xp


def active(x: Tree) -> AbstractContextManager[Any]:
    """Return the context in which the library of these arrays computes on their device."""
    device = device_of_or_none(next(leaves(x), None))
    return nullcontext() if device is None else device.activate()


def direct_array(where: str, name: str, x: Any, like: Array = None) -> Array:
    """Return x as an array, on the device of `like` if there is one.

    Raises
    ------
    InputError, DeviceMismatchError
        As `direct_values`.
    """
    device = device_of_or_none(x)
    if isinstance(x, np.generic) or (device is None and not hasattr(x, "__array_namespace__")):
        return _from_host(where, name, x, like)
    wanted = None if like is None else device_of_or_none(like)
    if like is None or device == wanted:
        return x
    if device == HOST and wanted is not None:  # host data may come to any device, as in fit
        return _from_host(where, name, x, like)
    raise DeviceMismatchError(
        f"{where}({name}=): expected an array on the device of the others, {str(wanted)!r}, got "
        f"one on {str(device)!r}; move it with bp.device({str(wanted)!r}).asarray(...)"
    )


def _from_host(where: str, name: str, x: Any, like: Array) -> Array:
    device: Device = (None if like is None else device_of_or_none(like)) or HOST
    host: HostArray
    try:
        host = np.asarray(x)
    except (ValueError, TypeError) as error:
        raise array_error(where, name, "an array", error) from None
    if host.dtype.kind not in "biuf":
        raise array_error(where, name, "an array of real numbers", f"dtype {host.dtype}")
    if like is None:
        return device.asarray(host)
    if host.dtype.kind == "f":
        return device.asarray(host, name_of_dtype(like.dtype))
    for dtype in ("int64", "int32"):  # JAX may lack the first
        if library(device.backend).dtype(dtype, device.kind, device.index) is not None:
            return device.asarray(host, dtype)
    return device.asarray(host)

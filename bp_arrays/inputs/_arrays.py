"""Read one array of the user's, check it, and move it to a device."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from bp_arrays.devices import Device, device_of, device_of_or_none
from bp_arrays.errors import DeviceMismatchError, InputError
from bp_arrays.inputs._frames import frame_to_array, is_frame
from bp_arrays.inputs._rows import Rows
from bp_arrays.inputs._sparse import to_sparse_rows
from bp_arrays.typing import Array, HostArray, Shape

PIECE = 2**22
"""Values looked at at once: data on disk is never read into memory whole."""


def is_host_data(x: Any) -> bool:
    """Tell whether x is NumPy, a list, a data frame: anything but another library's array.

    The devices room says whose array it is: CuPy's have no `__array_namespace__`.
    """
    if isinstance(x, (np.ndarray, np.generic)):
        return True
    return device_of_or_none(x) is None and not hasattr(x, "__array_namespace__")


DLPACK_HOST = (1, 3, 11)
"""The device types of DLPack that a CPU can read: its own memory, pinned by CUDA, by ROCm."""

ARRAY_LIKE = ("__array__", "__array_interface__", "__array_namespace__", "__dlpack__", "tocsr")
"""What has one of these is data itself, not something that gives it in batches."""


def is_array_like(x: Any) -> bool:
    """Tell whether x is data itself, not something that gives it in batches."""
    return any(hasattr(x, name) for name in ARRAY_LIKE)


def is_iterable_of_batches(x: Any) -> bool:
    """Tell whether x can only be iterated over: no array, list, data frame, mapping or text."""
    return hasattr(x, "__iter__") and not (
        isinstance(x, (type, list, tuple, str, bytes, Mapping, set, frozenset)) or is_array_like(x)
    )


def is_mapped(array: Any) -> bool:
    """Tell whether an array lies in a file, of which the parts asked for are read."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


def as_numpy(x: Any, what: str, device: Device | None = None) -> HostArray:
    """Return data of the host, or of the device, as a NumPy array of real numbers.

    Raises
    ------
    InputError
        If x is ragged, holds no real numbers, or has a column in which one is missing.
    DeviceMismatchError
        If x is on another device, or says through DLPack that it is not in the host's memory.
    """
    if device is None or is_host_data(x):
        return np.asarray(readable(x, what))
    return device.to_numpy(array_of_device(x, device, what))


def readable(x: Any, what: str) -> Any:
    """Return host data as a NumPy array, not copied if it is one; sparse data as `Rows`.

    Raises
    ------
    InputError, DeviceMismatchError
        As `as_numpy`.
    """
    if isinstance(x, Rows):
        return x
    if hasattr(x, "tocsr"):
        return to_sparse_rows(x, what)
    array = x if type(x) is np.ndarray else _as_array(x, what)
    if array.dtype == object:
        if array.ndim == 0 and x is not None:
            raise InputError(f"{what}: expected an array, got a {type(x).__name__}")
        try:
            array = array.astype(np.float64)
        except (ValueError, TypeError) as error:
            raise InputError(f"{what} must hold numbers, but holds objects: {error}") from None
    if array.dtype.kind not in "biuf":
        raise _not_real(what, array.dtype)
    return array


def array_of_device(x: Any, device: Device, what: str) -> Array:
    """Return an array of real numbers on the device, detached from its library's autograd.

    Raises
    ------
    InputError, DeviceMismatchError
        If x is on another device, or its numbers are not real.
    """
    check_same_device(x, device, what)
    if not device.xp.isdtype(x.dtype, ("real floating", "integral", "bool")):
        raise _not_real(what, x.dtype)
    return device.detached(x)


def _not_real(what: str, dtype: Any) -> InputError:
    return InputError(f"{what} must hold real numbers, but its dtype is {dtype}")


def _as_array(x: Any, what: str) -> np.ndarray[Any, Any]:
    """Data frames, lists, what speaks DLPack, and anything else that NumPy can read."""
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        raise InputError(
            f"{what} has masked values: drop such rows, or fill them with x.filled(value)"
        )
    if is_frame(x):
        return frame_to_array(x, what)
    if hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
        return _from_dlpack(x, what)
    if isinstance(x, Mapping):
        raise InputError(
            f"{what}: expected an array, got a {type(x).__name__} of {', '.join(map(str, x))}: "
            "choose one of them"
        )
    if isinstance(x, (str, os.PathLike)):
        raise InputError(
            f"{what}: expected an array, got the text {str(x)!r:.60}; if it names a file, "
            "bp.data.open_dataset reads it"
        )
    try:
        return np.asarray(x)
    except (ValueError, TypeError) as error:
        raise InputError(f"{what} cannot be read as an array: {error}") from None


def _from_dlpack(x: Any, what: str) -> np.ndarray[Any, Any]:
    """What another library holds, in its memory; NumPy is the one to read it, for any strides."""
    kind, _ = x.__dlpack_device__()
    if kind not in DLPACK_HOST:
        raise DeviceMismatchError(
            f"{what} is a {type(x).__module__}.{type(x).__name__} that is not in the host's "
            "memory: move it there first, or hand in an array of the model's device"
        )
    try:
        return np.from_dlpack(x)
    except (BufferError, RuntimeError, TypeError) as error:
        raise InputError(f"{what} cannot be read through DLPack: {error}") from None


def check_batch_shape(shape: Shape, sample_shape: Shape, what: str = "x") -> None:
    """Raise InputError unless shape is (batch, *sample_shape)."""
    if len(shape) != len(sample_shape) + 1 or tuple(shape[1:]) != sample_shape:
        expected = ", ".join(["batch", *map(str, sample_shape)])
        hint = (
            f"; one sample alone is a batch of 1: {what}[None]"
            if tuple(shape) == sample_shape
            else ""
        )
        raise InputError(f"{what}: expected shape ({expected}), got {tuple(shape)}{hint}")


def check_same_device(x: Array, device: Device, what: str = "x") -> None:
    """Raise DeviceMismatchError unless the array x is on the device."""
    if not device.owns(x):
        if device_of_or_none(x) is None:
            raise InputError(
                f"{what} is a {type(x).__module__}.{type(x).__name__}, an array of no device "
                "that is known here: hand in NumPy, as np.asarray or np.from_dlpack make it"
            )
        raise DeviceMismatchError(
            f"{what} is on device {str(device_of(x))!r} but the model is on {str(device)!r}: "
            f"move one of them, with model.to({str(device_of(x))!r}) or "
            f"bp.device({str(device)!r}).asarray({what})"
        )


def moved_to_device(array: Any, device: Device, dtype: str) -> Array:
    """Return an array that was checked on the device in a dtype; no copy if it is so already."""
    target = device.dtype(dtype)
    if device.is_host:
        return np.asarray(array, dtype=target)
    if not device.owns(array):
        return device.asarray(array, dtype)
    return array if array.dtype == target else device.xp.astype(array, target)


def pieces(array: Any) -> Iterator[tuple[int, Any]]:
    """An array (rows, ...) piece by piece, each with the number of its first row."""
    rows = int(array.shape[0])
    step = max(1, PIECE // max(1, math.prod(array.shape[1:])))
    for start in range(0, rows, step):
        yield start, array[start : min(start + step, rows), ...]


def first_not_finite(array: Any, device: Device | None = None) -> tuple[int, ...] | None:
    """Return the index of the first NaN or infinity, of the host or of the device, or None."""
    if device is not None and not is_host_data(array):
        return _first_not_finite_of_device(array, device)
    if array.dtype.kind != "f":
        return None
    for start, part in pieces(array):
        finite = np.isfinite(part)
        if not finite.all():
            row, *rest = (int(i) for i in np.argwhere(~finite)[0])
            return (start + row, *rest)
    return None


def _first_not_finite_of_device(array: Array, device: Device) -> tuple[int, ...] | None:
    """The same for an array of a device, which only says whether all is well."""
    if not device.xp.isdtype(array.dtype, "real floating"):
        return None
    for start, part in pieces(array):
        if not bool(device.xp.all(device.xp.isfinite(part))):
            row, *rest = first_not_finite(device.to_numpy(part)) or (0,)
            return (start + row, *rest)
    return None


def check_finite(
    array: Any, what: str | Callable[[tuple[int, ...]], str], device: Device | None = None
) -> None:
    """Raise InputError, naming the place, if a number is NaN or infinite.

    The array is NumPy's or `Rows`; or, with a device, an array of that device. `what` names the
    array, or is a function that names the number at an index.
    """
    index = first_not_finite(array, device)
    if index is not None:
        where = place(what, index) if isinstance(what, str) else what(index)
        raise InputError(
            f"{where} is {value_at(array, index, device)}: it must be finite; "
            "drop or fill such rows first"
        )


def place(what: str, index: tuple[int, ...]) -> str:
    """Return what to call the number at an index: "x[17, 3]"."""
    return f"{what}[{', '.join(map(str, index))}]"


def value_at(array: Any, index: tuple[int, ...], device: Device | None = None) -> Any:
    """Return one number of an array, of the host or of the device."""
    row = array[index[0] : index[0] + 1, ...]
    host = row if isinstance(row, np.ndarray) or device is None else device.to_numpy(row)
    return host[(0, *index[1:])]

"""Read one array passed by the user, check it, and move it to a device."""

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
"""Values checked at a time, so that data on disk is never read into memory whole."""


def is_host_data(x: Any) -> bool:
    """Return True if x is NumPy, a list, a data frame: anything but another library's array."""
    if isinstance(x, (np.ndarray, np.generic)):
        return True
    # both: arrays of CuPy have no __array_namespace__, those of unknown libraries no device
    return device_of_or_none(x) is None and not hasattr(x, "__array_namespace__")


DLPACK_HOST = (1, 3, 11)
"""The device types of DLPack that a CPU can read: its memory, also pinned by CUDA or ROCm."""

ARRAY_LIKE = ("__array__", "__array_interface__", "__array_namespace__", "__dlpack__", "tocsr")
"""The attributes of array-likes: an object with one of them is not an iterable of batches."""


def is_array_like(x: Any) -> bool:
    """Return True if x is array-like, and so not an iterable of batches."""
    return any(hasattr(x, name) for name in ARRAY_LIKE)


def is_iterable_of_batches(x: Any) -> bool:
    """Return True if x is iterable but no array, list, data frame, mapping or text."""
    return hasattr(x, "__iter__") and not (
        isinstance(x, (type, list, tuple, str, bytes, Mapping, set, frozenset)) or is_array_like(x)
    )


def is_mapped(array: Any) -> bool:
    """Return True if an array is memory-mapped, or a view of one that is."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


def as_numpy(x: Any, what: str, device: Device | None = None) -> HostArray:
    """Return data on the host, or on the device, as a NumPy array of real numbers.

    Raises
    ------
    InputError
        If x is ragged, does not hold real numbers, or has a missing value.
    DeviceMismatchError
        If x is on another device, or is not in the host's memory according to DLPack.
    """
    if device is None or is_host_data(x):
        return np.asarray(readable(x, what))
    return device.to_numpy(array_of_device(x, device, what))


def readable(x: Any, what: str) -> Any:
    """Return host data as a NumPy array, without a copy if it is one; sparse data as `Rows`.

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
            advice = "; pass its x" if hasattr(x, "x") else ""  # of a data set, for example
            raise InputError(f"{what}: expected an array, got a {type(x).__name__}{advice}")
        try:
            array = array.astype(np.float64)
        except (ValueError, TypeError, OverflowError) as error:
            raise InputError(f"{what}: expected numbers, got objects: {error}") from None
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
    return InputError(f"{what}: expected real numbers, got dtype {dtype}")


def _as_array(x: Any, what: str) -> np.ndarray[Any, Any]:
    """Read data frames, lists, DLPack objects, and anything else that NumPy can read."""
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        raise InputError(
            f"{what}: expected no masked values; drop such rows, or fill them with x.filled(value)"
        )
    if is_frame(x):
        return frame_to_array(x, what)
    if hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
        return _from_dlpack(x, what)
    if isinstance(x, Mapping):
        raise InputError(
            f"{what}: expected an array, got a {type(x).__name__} of {', '.join(map(str, x))}; "
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
        raise InputError(
            f"{what}: expected an array, which NumPy cannot make of it: {error}"
        ) from None


def _from_dlpack(x: Any, what: str) -> np.ndarray[Any, Any]:
    """Read another library's array through DLPack, without a copy, whatever its strides."""
    kind, _ = x.__dlpack_device__()
    if kind not in DLPACK_HOST:
        raise DeviceMismatchError(
            f"{what}: expected an array in the host's memory or on the model's device, got a "
            f"{type(x).__module__}.{type(x).__name__} elsewhere; move it first"
        )
    try:
        return np.from_dlpack(x)
    except (BufferError, RuntimeError, TypeError) as error:
        raise InputError(f"{what}: expected an array that DLPack can read: {error}") from None


def check_batch_shape(shape: Shape, sample_shape: Shape, what: str = "x") -> None:
    """Raise InputError unless shape is (batch, *sample_shape)."""
    if len(shape) != len(sample_shape) + 1 or tuple(shape[1:]) != sample_shape:
        expected = ", ".join(["batch", *map(str, sample_shape)])
        advice = (
            f"; a single sample is a batch of 1: {what}[None]"
            if tuple(shape) == sample_shape
            else ""
        )
        raise InputError(f"{what}: expected shape ({expected}), got {tuple(shape)}{advice}")


def check_same_device(x: Array, device: Device, what: str = "x") -> None:
    """Raise DeviceMismatchError unless the array x is on the device."""
    if not device.owns(x):
        if device_of_or_none(x) is None:
            raise InputError(
                f"{what}: expected an array of a known device, got a "
                f"{type(x).__module__}.{type(x).__name__}; convert it with np.asarray or "
                "np.from_dlpack"
            )
        raise DeviceMismatchError(
            f"{what}: expected an array on {str(device)!r}, the model's device, got one on "
            f"{str(device_of(x))!r}; move one of them, with model.to({str(device_of(x))!r}) or "
            f"bp.device({str(device)!r}).asarray({what})"
        )


def moved_to_device(array: Any, device: Device, dtype: str) -> Array:
    """Return a checked array on the device in a dtype, without a copy if it is there already."""
    target = device.dtype(dtype)
    if device.is_host:
        return np.asarray(array, dtype=target)
    if not device.owns(array):
        return device.asarray(array, dtype)
    return array if array.dtype == target else device.xp.astype(array, target)


def pieces(array: Any) -> Iterator[tuple[int, Any]]:
    """Yield an array (rows, ...) piece by piece, each with the number of its first row."""
    rows = int(array.shape[0])
    step = max(1, PIECE // max(1, math.prod(array.shape[1:])))
    for start in range(0, rows, step):
        yield start, array[start : min(start + step, rows), ...]


def first_not_finite(array: Any, device: Device | None = None) -> tuple[int, ...] | None:
    """Return the index of the first NaN or infinity, or None; without a device, on the host."""
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
    """Return the same for an array on a device, of which only pieces with a fault are copied."""
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
    """Raise InputError, naming the index, if a number is NaN or infinite.

    The array is NumPy's or `Rows`; or, with a device, an array of that device. `what` is the name
    of the array, or a function from an index to the description of the number there.
    """
    index = first_not_finite(array, device)
    if index is not None:
        where = describe_location(what, index) if isinstance(what, str) else what(index)
        raise InputError(
            f"{where}: expected a finite number, got {value_at(array, index, device)}; "
            "drop or fill such rows"
        )


def describe_location(what: str, index: tuple[int, ...]) -> str:
    """Return the description of the number at an index: "x[17, 3]"."""
    return f"{what}[{', '.join(map(str, index))}]"


def value_at(array: Any, index: tuple[int, ...], device: Device | None = None) -> Any:
    """Return one number of an array, on the host or on the device."""
    row = array[index[0] : index[0] + 1, ...]
    host = row if isinstance(row, np.ndarray) or device is None else device.to_numpy(row)
    return host[(0, *index[1:])]

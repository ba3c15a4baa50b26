"""What may come into a model: every array is checked and brought to the model's device here."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from bp_arrays.devices import Device, device_of, owner
from bp_arrays.errors import DeviceMismatchError, InputError
from bp_arrays.inputs._frames import frame_to_array, is_frame
from bp_arrays.inputs._rows import Rows
from bp_arrays.inputs._sparse import to_sparse_rows
from bp_arrays.typing import Array, Shape

PIECE = 2**22
"""Values looked at at once: data on disk is never read into memory whole."""


def is_host_data(x: Any) -> bool:
    """Whether x is NumPy, a list, a data frame: anything but another array library's array.

    The devices room says whose array it is: CuPy's have no `__array_namespace__`.
    """
    if isinstance(x, np.ndarray):
        return True
    return owner(x) is None and not hasattr(x, "__array_namespace__")


@runtime_checkable
class GivesSamples(Protocol):
    """What can say its samples in order, batch by batch: `bp.data.Batches`."""

    def samples(self, device: Device, dtype: str) -> Iterator[Array]:
        """The samples on that device, in that dtype."""


DLPACK_HOST = (1, 3, 11)
"""The device types of DLPack that a CPU can read: its own memory, pinned by CUDA, by ROCm."""

ARRAY_LIKE = ("__array__", "__array_interface__", "__array_namespace__", "__dlpack__", "tocsr")
"""What has one of these is data itself, not something that gives it in batches."""


def is_iterable_of_batches(x: Any) -> bool:
    """Whether x can only be gone through: no array, list, data frame, mapping or text."""
    return hasattr(x, "__iter__") and not (
        isinstance(x, (type, list, tuple, str, bytes, Mapping, set, frozenset))
        or any(hasattr(x, name) for name in ARRAY_LIKE)
    )


def to_host_array(x: Any, what: str) -> Any:
    """Host data as a NumPy array, without a copy where it is one; sparse data as `Rows`.

    Raises
    ------
    InputError
        If x is ragged, holds no numbers, or has a column in which one is missing.
    DeviceMismatchError
        If x speaks DLPack, and says that it is not in the memory of the host.
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
        raise InputError(f"{what} must hold real numbers, but its dtype is {array.dtype}")
    return array


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
        if owner(x) is None:
            raise InputError(
                f"{what} is a {type(x).__module__}.{type(x).__name__}, an array of no device "
                "that is known here: hand in NumPy, as np.asarray or np.from_dlpack make it"
            )
        raise DeviceMismatchError(
            f"{what} is on device {str(device_of(x))!r} but the model is on {str(device)!r}: "
            f"move one of them, with model.to({str(device_of(x))!r}) or "
            f"bp.device({str(device)!r}).asarray({what})"
        )


def to_device(x: Any, device: Device, dtype: str, sample_shape: Shape, what: str = "x") -> Array:
    """A batch of inputs on the device, in the model's dtype; no copy where it is so already.

    Raises
    ------
    InputError, DeviceMismatchError
        If the shape is not (batch, *sample_shape), if x holds no real numbers, or if x is an
        array of another device (host data is moved).
    """
    if is_host_data(x):
        host = to_host_array(x, what)
        check_batch_shape(host.shape, sample_shape, what)
        if device.backend == "numpy":
            return np.asarray(host, dtype=device.dtype(dtype))
        return device.asarray(host, dtype)
    check_same_device(x, device, what)
    check_batch_shape(x.shape, sample_shape, what)
    target = device.dtype(dtype)
    if x.dtype == target:
        return x
    if not device.xp.isdtype(x.dtype, ("real floating", "integral", "bool")):
        raise InputError(f"{what} must hold real numbers, but its dtype is {x.dtype}")
    return device.xp.astype(x, target)


def pieces(array: Any) -> Iterator[tuple[int, Any]]:
    """An array (rows, ...) piece by piece, each with the number of its first row."""
    rows = int(array.shape[0])
    step = max(1, PIECE // max(1, math.prod(array.shape[1:])))
    for start in range(0, rows, step):
        yield start, array[start : min(start + step, rows), ...]


def first_not_finite(array: Any) -> tuple[int, ...] | None:
    """The place of the first NaN or infinity in numbers on the host, or None."""
    if array.dtype.kind != "f":
        return None
    for start, part in pieces(array):
        finite = np.isfinite(part)
        if not finite.all():
            row, *rest = (int(i) for i in np.argwhere(~finite)[0])
            return (start + row, *rest)
    return None

"""`Device`: an array library and one of its devices."""

from __future__ import annotations

import functools
import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.devices._backend import Availability, RunsAs, one_line
from bp_arrays.devices._libraries import BUILT_IN, libraries, library, load_all_once
from bp_arrays.devices._namespaces import remember_namespace
from bp_arrays.errors import DeviceUnavailableError, InputError
from bp_arrays.typing import Array, HostArray, Namespace

logger = logging.getLogger("bp_arrays")

FLOATS = ("float32", "float64", "float16", "bfloat16")


@dataclass(frozen=True)
class Device:
    """An array library and one of its devices, as returned by `bp.device`.

    A device object can exist without the device; using one that cannot compute raises
    DeviceUnavailableError.

    Parameters
    ----------
    backend : str
        "numpy", "cupy", "torch", "jax", "strict", or the name of a registered library.
    kind : str
        "cpu", "cuda", "mps", or another kind of the library's devices.
    index : int, default 0
        The number of the device among those of its kind.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> cpu = bp.device("cpu")
    >>> cpu.to_numpy(cpu.asarray([1.0, 2.0], "float32")).dtype
    dtype('float32')
    >>> bp.device("cuda") == bp.device("cuda:0")
    True
    """

    backend: str
    kind: str
    index: int = 0

    @property
    def name(self) -> str:
        """The name, as `bp.device` expects it: "cpu", "cuda:0", "torch:cpu", "strict:device1"."""
        try:
            return library(self.backend).device_name(self.kind, self.index)
        except InputError:  # unpickled in a process in which its library is not registered
            return f"{self.backend}:{self.kind}"

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"device({self.name!r})"

    def availability(self) -> Availability:
        """Test by a computation whether this device can be used; once per process."""
        return _availability(self)

    def require(self) -> Device:
        """Return this device if it can be used.

        Raises
        ------
        DeviceUnavailableError
            If it cannot; the message says why and what to do.
        """
        status = _availability(self)
        if not status.usable:
            raise DeviceUnavailableError(
                f"device {self.name!r} cannot be used: {status.reason}. To use it: "
                f"{status.advice}. Nothing was moved"
            )
        return self

    @property
    def xp(self) -> Namespace:
        """The array API namespace of this device's library."""
        return _namespace(self)

    @property
    def native(self) -> Any:
        """The library's own device object, for `device=` of creation functions."""
        return _native(self)

    @property
    def is_asynchronous(self) -> bool:
        """True if a call returns before its result is computed, so that reading it waits."""
        return self.kind in library(self.backend).asynchronous_kinds

    @property
    def is_host(self) -> bool:
        """True if the arrays are NumPy's own, so that host data need not be copied."""
        return library(self.backend).is_host

    @property
    def is_writable(self) -> bool:
        """True if the arrays are NumPy's own, which the package `execution` may overwrite."""
        return library(self.backend).is_writable

    @property
    def runs_as(self) -> RunsAs:
        """The fastest execution of training steps on this library.

        "replay": recorded once, then replayed in preallocated memory (NumPy). "jit": traced and
        compiled as a whole, so that scalars are passed as arrays and creation functions name no
        device (JAX). "cuda graph": captured once, then launched as a whole (CuPy). "eager":
        operation by operation (PyTorch, array-api-strict, registered libraries).

        It describes the library, not the machine: without nvmath-python, for example, there are
        no CUDA graphs, as `bp-arrays devices` reports.
        """
        return library(self.backend).runs_as

    @property
    def is_built_in(self) -> bool:
        """True for NumPy, CuPy, PyTorch, JAX and array-api-strict, not for an added library."""
        return self.backend in BUILT_IN

    @property
    def is_for_checking(self) -> bool:
        """True if the library exists to check programs, not to compute fast."""
        return library(self.backend).is_for_checking

    @property
    def description(self) -> str:
        """The library, its version and, for an accelerator, its model."""
        return library(self.require().backend).description(self.kind, self.index)

    @property
    def is_emulated(self) -> bool:
        """True for a CUDA device that is emulated on the CPU: what runs there ran on no GPU."""
        return library(self.require().backend).is_emulated(self.kind, self.index)

    @property
    def sum_dtype(self) -> str:
        """The dtype in which sums over many numbers are right: "float64", or "float32" without."""
        backend = library(self.backend)
        has_float64 = backend.dtype("float64", self.kind, self.index) is not None
        return "float64" if has_float64 else "float32"

    def dtype(self, name: str) -> Any:
        """Return the library's dtype of this name.

        Raises
        ------
        InputError
            If this device lacks it; the message lists the floating-point dtypes that it has.
        """
        backend = library(self.require().backend)
        dtype = backend.dtype(name, self.kind, self.index) if isinstance(name, str) else None
        if dtype is None:
            floats = [f for f in FLOATS if backend.dtype(f, self.kind, self.index) is not None]
            advice = backend.dtype_advice(name)
            raise InputError(
                f"device {self.name!r} has no dtype {name!r}, it has {', '.join(floats)}"
                + (f"; {advice}" if advice else "")
            )
        return dtype

    def asarray(self, host: Any, dtype: str | None = None) -> Array:
        """Return a copy of an array-like on this device, which never shares memory with it.

        Parameters
        ----------
        host : array_like
            Lists, NumPy arrays, or the arrays of any other device.
        dtype : str, optional
            By default the dtype of `host`.

        Raises
        ------
        InputError
            If it does not hold numbers, or complex ones where `dtype` is real; or if this device
            lacks its dtype: nothing is truncated without `dtype`.
        """
        self.require()
        source = device_of_or_none(host)
        array = source.to_numpy(host) if source is not None else _array_like(host)
        _check_numeric(array, dtype)
        if dtype is None:
            dtype = array.dtype.name
        if "bfloat16" in (dtype, array.dtype.name):  # NumPy lacks it, so the library rounds
            array = array.astype(np.float32)
        elif array.dtype.char in "gG":  # only NumPy and JAX can read a long double
            array = array.astype(np.float64 if array.dtype.char == "g" else np.complex128)
        target = self.dtype(dtype)
        if not array.dtype.isnative:  # PyTorch and JAX refuse other byte orders
            array = array.astype(array.dtype.newbyteorder("="))
        backend = library(self.backend)
        return backend.from_host(
            np.ascontiguousarray(array).reshape(array.shape), target, self.kind, self.index
        )

    def to_numpy(self, array: Array) -> HostArray:
        """Return a copy of the array as NumPy; waits for the device."""
        if isinstance(array, (float, int)):
            return np.asarray(array)
        return library(self.backend).to_host(array)

    def owns(self, array: Any) -> bool:
        """Return True for an array of this library on this device."""
        return library(self.backend).locate(array) == (self.kind, self.index)

    def detached(self, array: Array) -> Array:
        """Return an array of this device detached from its library's autograd.

        So PyTorch does not record operations on a tensor that requires a gradient.
        """
        return library(self.backend).detached(array)

    def activate(self) -> AbstractContextManager[Any]:
        """Return the context in which the library computes on this device."""
        return library(self.require().backend).activate(self.kind, self.index)

    def synchronize(self) -> None:
        """Wait until the device has finished all work."""
        library(self.require().backend).synchronize(self.kind, self.index)


HOST = Device("numpy", "cpu")


def device_of_or_none(array: Any) -> Device | None:
    """Return the device of an array, None if it is not an array of a known library."""
    if isinstance(array, (np.ndarray, np.generic)):  # first, as the most frequent case
        return HOST
    device = _located(array)
    if device is None and hasattr(array, "__array_namespace__") and load_all_once():
        return _located(array)  # perhaps of a library that an installed package offers
    return device


def _located(array: Any) -> Device | None:
    for backend in libraries():
        try:
            location = backend.locate(array)
        except Exception as error:  # a registered library must not prevent the use of the others
            logger.warning("%s: its locate() failed on a %s: %s", backend.name, type(array), error)
            continue
        if location is not None:
            return Device(backend.name, *location)
    return None


def name_of_dtype(dtype: Any) -> str:
    """Return the name of a library's dtype: "float32" for torch.float32."""
    return str(dtype).rpartition(".")[2]


def forget_probes() -> None:
    """Clear the caches of libraries by name: a name may have been registered again."""
    for function in (_availability, _namespace, _native):
        function.cache_clear()


@functools.cache
def _availability(device: Device) -> Availability:
    try:
        return library(device.backend).availability(device.kind, device.index)
    except InputError:
        raise
    except Exception as error:  # a registered Backend must not prevent the list of the others
        return Availability(
            False,
            f"the availability of its Backend raises {one_line(error)}",
            f"fix the Backend of {device.backend!r}",
        )


@functools.cache
def _namespace(device: Device) -> Namespace:
    return remember_namespace(library(device.require().backend).namespace(), device.backend)


@functools.cache
def _native(device: Device) -> Any:
    return library(device.require().backend).native(device.kind, device.index)


def _array_like(host: Any) -> HostArray:
    try:
        return np.asarray(host)
    except (ValueError, TypeError) as error:
        raise InputError(f"expected an array: {error}") from None


def _check_numeric(array: HostArray, dtype: str | None) -> None:
    is_number = array.dtype.kind in "biufc" or array.dtype.name == "bfloat16"  # of ml_dtypes
    if not is_number:
        raise InputError(f"expected numbers, got an array of dtype {array.dtype}")
    if array.dtype.kind == "c" and dtype in FLOATS:
        raise InputError(f"expected real numbers for {dtype}, got an array of dtype {array.dtype}")

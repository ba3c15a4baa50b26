"""A device as a value: a name for where arrays live."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.devices._backend import Availability, RunsAs, one_line
from bp_arrays.devices._libraries import libraries, library, load_all_once
from bp_arrays.devices._namespaces import remember_namespace
from bp_arrays.errors import DeviceUnavailableError, InputError
from bp_arrays.typing import Array, HostArray, Namespace

FLOATS = ("float32", "float64", "float16", "bfloat16")


@dataclass(frozen=True)
class Device:
    """Where arrays live: an array library and one of its devices. Made by `bp.device`.

    Naming a device never fails; using one that cannot compute raises DeviceUnavailableError.

    Parameters
    ----------
    backend : str
        "numpy", "cupy", "torch", "jax", "strict", or the name of a registered library.
    kind : str
        "cpu", "cuda", "mps", or the name of one of the library's own devices.
    index : int, default 0
        Which one of several of that kind.

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
        """As `bp.device` takes it: "cpu", "cuda:0", "torch:cpu", "strict:device1"."""
        try:
            return library(self.backend).device_name(self.kind, self.index)
        except InputError:  # unpickled where its library is not registered: it still has a name
            return f"{self.backend}:{self.kind}"

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"device({self.name!r})"

    def availability(self) -> Availability:
        """Test whether this device computes, and if not, why; tested once per process."""
        return _availability(self)

    def require(self) -> Device:
        """This device, if it can be used.

        Raises
        ------
        DeviceUnavailableError
            If not; the message says why and what to do.
        """
        status = _availability(self)
        if not status.usable:
            raise DeviceUnavailableError(
                f"device {self.name!r} was asked for, but {status.reason}. To use it: "
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
        """True if a call returns before its result is there, so that reading one waits."""
        return self.kind in library(self.backend).asynchronous_kinds

    @property
    def is_host(self) -> bool:
        """True if arrays here are NumPy's own: what comes from the host need not be copied."""
        return library(self.backend).is_host

    @property
    def is_writable(self) -> bool:
        """True if arrays here are NumPy's own, which the execution room may write over."""
        return library(self.backend).is_writable

    @property
    def runs_as(self) -> RunsAs:
        """How training steps run fastest on this library.

        "replay": recorded once, then replayed in memory laid out beforehand (NumPy). "jit":
        traced whole by a compiler, so that scalars come in as arrays and creation functions
        name no device (JAX). "cuda graph": captured once, then launched whole (CuPy). "eager":
        operation by operation (PyTorch, array-api-strict, registered libraries).

        What a library can do, not what a machine can: without nvmath-python, say, there are no
        CUDA graphs; `bp-arrays devices` says so.
        """
        return library(self.backend).runs_as

    @property
    def is_for_checking(self) -> bool:
        """True if the library exists to check programs, not to compute fast."""
        return library(self.backend).is_for_checking

    @property
    def description(self) -> str:
        """The library, its version and, for an accelerator, which one."""
        return library(self.require().backend).description(self.kind, self.index)

    @property
    def is_emulated(self) -> bool:
        """True for a CUDA device that is emulated on the CPU: what runs there ran on no GPU."""
        return library(self.require().backend).is_emulated(self.kind, self.index)

    def dtype(self, name: str) -> Any:
        """The library's dtype of that name.

        Raises
        ------
        InputError
            If this device has none; the message says which floats it has.
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
        """A copy of anything array-like on this device; nothing is ever shared.

        Parameters
        ----------
        host : array_like
            Lists, NumPy arrays, or the arrays of any other device.
        dtype : str, optional
            By default the dtype stays what it is.

        Raises
        ------
        InputError
            If it holds no numbers, or this device lacks its dtype: nothing is truncated unasked.
        """
        self.require()
        source = device_of_or_none(host)
        array = source.to_numpy(host) if source is not None else _numeric_array(host)
        if dtype is None:
            dtype = array.dtype.name
        elif dtype == "bfloat16":  # NumPy lacks it: the library rounds
            array = array.astype(np.float32)
        elif array.dtype.char == "g":  # long double, which only NumPy and JAX can read
            array = array.astype(np.float64)
        target = self.dtype(dtype)
        if not array.dtype.isnative:  # which PyTorch and JAX refuse
            array = array.astype(array.dtype.newbyteorder("="))
        backend = library(self.backend)
        return backend.from_host(
            np.ascontiguousarray(array).reshape(array.shape), target, self.kind, self.index
        )

    def to_numpy(self, array: Array) -> HostArray:
        """The array as NumPy, in memory of its own; waits for the device."""
        if isinstance(array, (float, int)):
            return np.asarray(array)
        return library(self.backend).to_host(array)

    def owns(self, array: Any) -> bool:
        """Check whether this is an array of this library on this device."""
        return library(self.backend).locate(array) == (self.kind, self.index)

    def detached(self, array: Array) -> Array:
        """An array of this device, without its library's record of how it was computed.

        So PyTorch's autograd does not record what is done with a tensor that requires a gradient.
        """
        return library(self.backend).detached(array)

    def activate(self) -> AbstractContextManager[Any]:
        """The context in which the library computes on this device."""
        return library(self.require().backend).activate(self.kind, self.index)

    def synchronize(self) -> None:
        """Wait until the device has done all it was given."""
        library(self.require().backend).synchronize(self.kind, self.index)


HOST = Device("numpy", "cpu")


def device_of_or_none(array: Any) -> Device | None:
    """The device an array lives on, None for what is no array of a known library."""
    if isinstance(array, (np.ndarray, np.generic)):  # first: asked at every door
        return HOST
    device = _located(array)
    if device is None and hasattr(array, "__array_namespace__") and load_all_once():
        return _located(array)  # of a library that an installed package has just brought
    return device


def _located(array: Any) -> Device | None:
    for backend in libraries():
        location = backend.locate(array)
        if location is not None:
            return Device(backend.name, *location)
    return None


def forget_probes() -> None:
    """Ask libraries anew: another one may bear the name by now."""
    for cached in (_availability, _namespace, _native):
        cached.cache_clear()


@functools.cache
def _availability(device: Device) -> Availability:
    try:
        return library(device.backend).availability(device.kind, device.index)
    except InputError:
        raise
    except Exception as error:  # of a registered Backend: it must not take the others with it
        return Availability(
            False,
            f"the availability of its Backend raises {one_line(error)}",
            f"mend the Backend of {device.backend!r}",
        )


@functools.cache
def _namespace(device: Device) -> Namespace:
    return remember_namespace(library(device.require().backend).namespace(), device.backend)


@functools.cache
def _native(device: Device) -> Any:
    return library(device.require().backend).native(device.kind, device.index)


def _numeric_array(host: Any) -> HostArray:
    try:
        array = np.asarray(host)
    except (ValueError, TypeError) as error:
        raise InputError(f"cannot be read as an array: {error}") from None
    if array.dtype.kind not in "biufc":
        raise InputError(f"expected numbers, got an array of dtype {array.dtype}")
    return array

"""A device as a value: a name for where arrays live."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.devices._backend import Availability, Backend
from bp_arrays.devices._cupy import CuPyBackend
from bp_arrays.devices._jax import JaxBackend
from bp_arrays.devices._namespaces import remember_namespace
from bp_arrays.devices._numpy import NumPyBackend
from bp_arrays.devices._strict import StrictBackend
from bp_arrays.devices._torch import TorchBackend
from bp_arrays.errors import DeviceUnavailableError, InputError
from bp_arrays.typing import Array, HostArray, Namespace

BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (NumPyBackend(), CuPyBackend(), TorchBackend(), JaxBackend(), StrictBackend())
}
FLOATS = ("float32", "float64", "float16", "bfloat16")


@dataclass(frozen=True)
class Device:
    """Where arrays live: an array library and one of its devices. Made by `bp.device`.

    Naming a device never fails; using one that cannot compute raises DeviceUnavailableError.

    Parameters
    ----------
    backend : str
        "numpy", "cupy", "torch", "jax" or "strict".
    kind : str
        "cpu", "cuda", "mps", or the name of one of strict's devices.
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
        prefix = "" if self.backend in ("numpy", "cupy") else f"{self.backend}:"
        if self.backend == "strict" and self.kind == "cpu":
            return "strict"
        return f"{prefix}{self.kind}" + (f":{self.index}" if self.kind == "cuda" else "")

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"device({self.name!r})"

    def availability(self) -> Availability:
        """Whether this device computes, and if not, why; found out once a process."""
        return _availability(self)

    def require(self) -> Device:
        """This device, if it can be used.

        Raises
        ------
        DeviceUnavailableError
            If not; the message says why and what to do.
        """
        found = _availability(self)
        if not found.usable:
            raise DeviceUnavailableError(
                f"device {self.name!r} was asked for, but {found.reason}. To use it: "
                f"{found.advice}. Nothing was moved"
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
        """Whether a call returns before its result is there, so that reading one waits."""
        return self.kind in BACKENDS[self.backend].asynchronous_kinds

    @property
    def is_writable(self) -> bool:
        """Whether arrays here are NumPy's own, which the execution room may write over."""
        return BACKENDS[self.backend].is_writable

    @property
    def description(self) -> str:
        """The library, its version and, for an accelerator, which one."""
        return BACKENDS[self.require().backend].description(self.kind, self.index)

    def dtype(self, name: str) -> Any:
        """The library's dtype of that name.

        Raises
        ------
        InputError
            If this device has none; the message says which floats it has.
        """
        backend = BACKENDS[self.require().backend]
        found = backend.dtype(name, self.kind, self.index) if isinstance(name, str) else None
        if found is None:
            has = [f for f in FLOATS if backend.dtype(f, self.kind, self.index) is not None]
            hint = (
                '; for float64 on JAX call jax.config.update("jax_enable_x64", True) first'
                if self.backend == "jax" and name == "float64"
                else ""
            )
            raise InputError(
                f"device {self.name!r} has no dtype {name!r}, it has {', '.join(has)}{hint}"
            )
        return found

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
        source = owner(host)
        array = source.to_numpy(host) if source is not None else _numbers(host)
        if dtype is None:
            dtype = array.dtype.name
        elif dtype == "bfloat16":  # NumPy lacks it: the library rounds
            array = array.astype(np.float32)
        elif array.dtype.char == "g":  # long double, which only NumPy and JAX can read
            array = array.astype(np.float64)
        target = self.dtype(dtype)
        if not array.dtype.isnative:  # which PyTorch and JAX refuse
            array = array.astype(array.dtype.newbyteorder("="))
        backend = BACKENDS[self.backend]
        return backend.from_host(
            np.ascontiguousarray(array).reshape(array.shape), target, self.kind, self.index
        )

    def to_numpy(self, array: Array) -> HostArray:
        """The array as NumPy, in memory of its own; waits for the device."""
        if isinstance(array, (float, int)):
            return np.asarray(array)
        return BACKENDS[self.backend].to_host(array)

    def owns(self, array: Any) -> bool:
        """Whether this is an array of this library on this device."""
        return BACKENDS[self.backend].place_of(array) == (self.kind, self.index)

    def detached(self, array: Array) -> Array:
        """An array of this device, without its library's record of how it was computed.

        So PyTorch's autograd does not record what is done with a tensor that requires a gradient.
        """
        return BACKENDS[self.backend].detached(array)

    def activate(self) -> AbstractContextManager[Any]:
        """The context in which the library computes on this device."""
        return BACKENDS[self.require().backend].activate(self.kind, self.index)

    def synchronize(self) -> None:
        """Wait until the device has done all it was given."""
        BACKENDS[self.require().backend].synchronize(self.kind, self.index)


def owner(array: Any) -> Device | None:
    """The device an array lives on, None for what is no array."""
    for backend in BACKENDS.values():
        place = backend.place_of(array)
        if place is not None:
            return Device(backend.name, *place)
    return None


@functools.cache
def _availability(device: Device) -> Availability:
    return BACKENDS[device.backend].availability(device.kind, device.index)


@functools.cache
def _namespace(device: Device) -> Namespace:
    return remember_namespace(BACKENDS[device.require().backend].namespace(), device.backend)


@functools.cache
def _native(device: Device) -> Any:
    return BACKENDS[device.require().backend].native(device.kind, device.index)


def _numbers(host: Any) -> HostArray:
    try:
        array = np.asarray(host)
    except (ValueError, TypeError) as error:
        raise InputError(f"cannot be read as an array: {error}") from None
    if array.dtype.kind not in "biufc":
        raise InputError(f"expected numbers, got an array of dtype {array.dtype}")
    return array

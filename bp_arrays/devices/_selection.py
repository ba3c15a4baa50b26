"""Select a device by name, automatically, or by an array; list and register devices."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from bp_arrays.devices import _libraries
from bp_arrays.devices._backend import Backend
from bp_arrays.devices._device import Device, device_of_or_none, forget_probes
from bp_arrays.errors import InputError, unknown_name

VARIABLE = "BP_ARRAYS_DEVICE"

logger = logging.getLogger("bp_arrays")


class DeviceStatus(NamedTuple):
    """A known device and whether it can be used on this machine."""

    device: Device
    usable: bool
    reason: str
    advice: str


def device(spec: str | Device = "auto") -> Device:
    """Return the device of this name.

    Parameters
    ----------
    spec : str or Device
        "cpu" (NumPy), "cuda" or "cuda:1" (CuPy), "torch:cpu", "torch:cuda:0", "torch:mps",
        "jax:cpu", "jax:cuda:0", "strict", "strict:device1"; "yours:kind" of a registered library
        (see `bp.devices.register`); the module of an array API namespace, as in "dpnp", its default
        device, or "mylib.array_api:1", the device of this number; or "auto", which is "cuda" if
        a test computation on it succeeds, else "cpu"; the log says which and why. The environment
        variable BP_ARRAYS_DEVICE, if set, replaces "auto".

    Raises
    ------
    InputError
        For an unknown name. A known device that is not available raises when it is used.

    Examples
    --------
    >>> device("cuda:0").name, device("torch:cuda").name
    ('cuda:0', 'torch:cuda:0')
    """
    if isinstance(spec, Device):
        return spec
    if spec == "auto":
        return _automatic()
    parsed = _parsed(spec) if isinstance(spec, str) else None
    if parsed is not None:
        return parsed
    if spec == "gpu":
        raise InputError("unknown device 'gpu': did you mean 'cuda', an NVIDIA GPU by CuPy?")
    known = [known.name for known in _known()]
    error = unknown_name("device", str(spec), (*known, "auto", "cuda", "cuda:1"))
    raise InputError(
        f"{error}; an array library is named by its module, or added with bp.devices.register"
    )


class DeviceList:
    """The registry of devices: call it to list them, `register` to add an array library.

    Its only instance is `bp.devices`. It is an object and not a function with attributes, of which
    a type checker would know nothing.
    """

    def __call__(self) -> list[DeviceStatus]:
        """Return every known device, whether it can be used and, if not, why and what to do.

        Entry points of installed packages are looked up, so that their devices are listed too.

        Examples
        --------
        >>> import bp_arrays as bp
        >>> [status.device.name for status in bp.devices() if status.device.name == "cpu"]
        ['cpu']
        """
        _libraries.load_entry_points()
        return [_status(known) for known in _known()]

    def register(self, backend: Backend | type[Backend]) -> None:
        """Add an array library, so that its devices, `bp.device("yours:kind")`, can be used.

        Registering the same class again replaces it. An installed package does not need this call:
        an entry point of the group "bp_arrays.backends" with the name of the library, which refers
        to the class, is loaded when a device of the library is first used.

        Parameters
        ----------
        backend : Backend or subclass of Backend
            A class is called without arguments.

        Raises
        ------
        InputError
            If the name is taken, or an attribute is invalid. The library itself is tested when a
            device of it is used.

        Examples
        --------
        >>> import bp_arrays as bp
        >>> from bp_arrays.devices import Backend
        >>> class Mine(Backend):
        ...     name = "mine"
        ...     module = "array_api_strict"  # any array API namespace
        >>> bp.devices.register(Mine)
        >>> bp.device("mine:cpu").asarray([1.0, 2.0], "float32")
        Array([1., 2.], dtype=array_api_strict.float32)
        >>> bp.devices.unregister("mine")
        """
        _libraries.register(backend)
        forget_probes()

    def unregister(self, name: str) -> None:
        """Remove a registered library.

        Parameters
        ----------
        name : str
            The name of its Backend.

        Raises
        ------
        InputError
            If no library of this name is registered.
        """
        _libraries.unregister(name)
        forget_probes()

    def __repr__(self) -> str:
        return "bp.devices: call it for the list, bp.devices.register adds an array library"


devices = DeviceList()
"""The list of devices; `register` adds an array library."""


def device_of(array: Any) -> Device:
    """Return the device of an array.

    Raises
    ------
    InputError
        If it is not an array of a known library.

    Examples
    --------
    >>> import numpy as np
    >>> device_of(np.zeros(2))
    device('cpu')
    """
    device = device_of_or_none(array)
    if device is None:
        raise InputError(f"expected an array, got {type(array).__name__}")
    return device


def _known() -> Iterator[Device]:
    """Yield each kind of device of each known library; of numbered kinds the first device."""
    for backend in _libraries.libraries():
        for kind in backend.kinds:
            yield Device(backend.name, kind)


def _parsed(spec: str) -> Device | None:
    """Return the device of this name, also of a library that an installed package offers."""
    for backend in _libraries.libraries():
        location = backend.parse(spec)
        if location is not None:
            return Device(backend.name, *location)
    if _libraries.load_entry_points(spec.partition(":")[0]):
        return _parsed(spec)
    return _parsed(spec) if _libraries.load_module(spec) else None


def _status(known: Device) -> DeviceStatus:
    availability = known.availability()
    return DeviceStatus(known, availability.usable, availability.reason, availability.advice)


def _automatic() -> Device:
    name = os.environ.get(VARIABLE)
    if name and name != "auto":
        selected = device(name)
        logger.info("device 'auto' is %s, as set in %s", selected, VARIABLE)
        return selected
    cuda = device("cuda")
    availability = cuda.availability()
    if availability.usable:
        logger.info("device 'auto' is %s: a test computation on it succeeded", cuda)
        return cuda
    logger.info("device 'auto' is cpu: cuda cannot be used, %s", availability.reason)
    return device("cpu")

"""Choose a device: from a name, by looking at the machine, or from an array."""

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
    """A known device and whether it can be used here."""

    device: Device
    usable: bool
    reason: str
    advice: str


def device(spec: str | Device = "auto") -> Device:
    """The device of that name.

    Parameters
    ----------
    spec : str or Device
        "cpu" (NumPy), "cuda" or "cuda:1" (CuPy), "torch:cpu", "torch:cuda:0", "torch:mps",
        "jax:cpu", "jax:cuda:0", "strict", "strict:device1"; "yours:kind" of a registered library
        (see `bp.devices.register`); or "auto", which uses "cuda" if a test computation on it
        succeeds, else "cpu", and logs which and why. The environment variable BP_ARRAYS_DEVICE,
        if set, says what "auto" is.

    Raises
    ------
    InputError
        For an unknown name. A known device that cannot be used here raises when it is used.

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
    raise InputError(f"{error}; to add an array library: bp.devices.register")


class DeviceList:
    """The devices known here: call it to list them, `register` to add an array library.

    There is one object of this class, `bp.devices`. It is an object and not a function because
    it is both the list and what changes the list, and a type checker knows the methods of a
    class but no attributes set on a function.
    """

    def __call__(self) -> list[DeviceStatus]:
        """Every known device, whether it can be used here and, if not, why and what to do.

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
        """Add an array library, so that `bp.device("theirs:kind")` and all else works with it.

        Registering the same class again replaces it. An installed package can do without this
        call: an entry point of the group "bp_arrays.devices", of the library's name, that gives
        the class is found when a device of it is asked for.

        Parameters
        ----------
        backend : Backend or subclass of Backend
            A class is called without arguments.

        Raises
        ------
        InputError
            If the name is taken, or an attribute is not as `Backend` says. The library itself is
            looked at when a device of it is used.

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
            If no library of that name is registered.
        """
        _libraries.unregister(name)
        forget_probes()

    def __repr__(self) -> str:
        return "bp.devices: call it for the list, bp.devices.register adds an array library"


devices = DeviceList()
"""The list of devices; `register` adds an array library."""


def device_of(array: Any) -> Device:
    """The device an array lives on.

    Raises
    ------
    InputError
        If it is no array of a known library.

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
    """Each kind of device of each known library; the first one of those with numbers."""
    for backend in _libraries.libraries():
        for kind in backend.kinds:
            yield Device(backend.name, kind)


def _parsed(spec: str) -> Device | None:
    """The device of that name, also of a library that an installed package offers."""
    for backend in _libraries.libraries():
        location = backend.parse(spec)
        if location is not None:
            return Device(backend.name, *location)
    if _libraries.load_entry_points(spec.partition(":")[0]):
        return _parsed(spec)
    return None


def _status(known: Device) -> DeviceStatus:
    availability = known.availability()
    return DeviceStatus(known, availability.usable, availability.reason, availability.advice)


def _automatic() -> Device:
    chosen = os.environ.get(VARIABLE)
    if chosen and chosen != "auto":
        named = device(chosen)
        logger.info("device 'auto' is %s, as %s says", named, VARIABLE)
        return named
    cuda = device("cuda")
    availability = cuda.availability()
    if availability.usable:
        logger.info("device 'auto' is %s: a probe on it computed", cuda)
        return cuda
    logger.info("device 'auto' is cpu: cuda cannot be used, %s", availability.reason)
    return device("cpu")

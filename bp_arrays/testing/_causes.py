"""Find the array function that makes a case fail, by computing that function with NumPy instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bp_arrays.devices import MARK, Device, device as find_device, library_of
from bp_arrays.testing._case import Case
from bp_arrays.testing._placement import Placement
from bp_arrays.testing._running import run_case
from bp_arrays.typing import Namespace


def cause_of(case: Case, placement: Placement, suspects: Iterable[str]) -> str:
    """Return the suspects whose replacement by NumPy's function makes a case agree, or "".

    Parameters
    ----------
    suspects : iterable of str
        Functions of the namespace with a disagreement of their own on this device.
    """
    device = RepairedDevice(
        placement.device.backend,
        placement.device.kind,
        placement.device.index,
        suspects=tuple(suspects),
    )
    if run_case(case, Placement(device, placement.dtype)).faults:
        return ""
    return ", ".join(name for name in device.suspects if name in device.called)


@dataclass(frozen=True)
class RepairedDevice(Device):
    """A device whose namespace has NumPy's form of some functions, and records their use."""

    suspects: tuple[str, ...] = ()
    called: set[str] = field(default_factory=set, compare=False)

    @property
    def xp(self) -> Namespace:
        return RepairedNamespace(self)

    @property
    def runs_as(self) -> Any:
        """Eager: a traced array has no numbers to copy to the host."""
        return "eager"


class RepairedNamespace:
    """The namespace of a device with NumPy's form of the suspects."""

    def __init__(self, device: RepairedDevice) -> None:
        self._device = device
        self._real = super(RepairedDevice, device).xp
        setattr(self, MARK, library_of(self._real))

    def __getattr__(self, name: str) -> Any:
        if name in self._device.suspects:
            return _by_numpy(self._device, name)
        return getattr(self._real, name)


def _by_numpy(device: RepairedDevice, name: str) -> Callable[..., Any]:
    host = find_device("cpu")
    function = getattr(host.xp, name)
    dtypes = _dtypes(device)

    def to_host(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(to_host(part) for part in value)
        if value is None or isinstance(value, (str, bool, int, float, slice)):
            return value
        if device.owns(value):
            return device.to_numpy(value)
        return next((host.dtype(name) for name, d in dtypes.items() if value == d), value)

    def repaired(*arguments: Any, **options: Any) -> Any:
        device.called.add(name)
        options.pop("device", None)
        result = function(
            *map(to_host, arguments), **{key: to_host(value) for key, value in options.items()}
        )
        if isinstance(result, (np.ndarray, np.generic)):
            return device.asarray(np.asarray(result))
        return device.dtype(result.name) if isinstance(result, np.dtype) else result

    return repaired


def _dtypes(device: RepairedDevice) -> dict[str, Any]:
    names = ("bool", "int32", "int64", "uint32", "float16", "float32", "float64")
    real = super(RepairedDevice, device).xp
    return {name: getattr(real, name) for name in names if hasattr(real, name)}

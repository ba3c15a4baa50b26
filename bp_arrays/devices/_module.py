"""`ModuleBackend`: any importable array API namespace, whose devices are named after its module."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cached_property
from typing import Any

import numpy as np

from bp_arrays.devices._backend import Availability, Backend, imported
from bp_arrays.errors import InputError
from bp_arrays.typing import Array, HostArray

KIND = "device"
NEEDED = ("asarray", "empty", "float32")
"""Names without which a module is not taken for an array namespace."""

LIST_FUNCTIONS = "`bp-arrays check --functions` lists what a namespace needs"


class ModuleBackend(Backend):
    """An array library by the standard alone: "mylib" is its default device, "mylib:1" number 1.

    The numbers are those of `__array_namespace_info__().devices()`; a namespace without the
    inspection functions has one device.
    """

    kinds = (KIND,)
    numbered_kinds = frozenset({KIND})

    def __init__(self, module: str) -> None:
        self.name = self.module = module

    def native(self, kind: str, index: int) -> Any:
        return self._devices[index] if self._devices else None

    def count(self, kind: str) -> int:
        return max(len(self._devices), 1)

    @cached_property
    def _devices(self) -> list[Any]:
        info = getattr(self.namespace(), "__array_namespace_info__", None)
        return [] if info is None else list(info().devices())

    @cached_property
    def _default_index(self) -> int:
        """The number of the default device, which "mylib" without a number is."""
        if not self._devices:
            return 0
        default = self.namespace().__array_namespace_info__().default_device()
        return self._devices.index(default) if default in self._devices else 0

    def to_host(self, array: Array) -> HostArray:
        """Copy through DLPack, which may copy from any device, or by `np.array`."""
        try:
            return np.array(np.from_dlpack(array, device="cpu", copy=True))
        except Exception:  # without __dlpack__, or with one of before the standard of 2023
            return super().to_host(array)

    def locate(self, array: Any) -> tuple[str, int] | None:
        """Return the device of an array: an instance of the class that `empty` returns."""
        if self.module not in sys.modules or type(array) is not self._array_type:
            return None
        if len(self._devices) < 2:
            return KIND, 0
        for device, kind, index in self._devices_of_arrays:
            if array.device == device:
                return kind, index
        return None

    @cached_property
    def _array_type(self) -> type[Any]:
        # an array's own namespace may be another module, as for the modules of array_api_compat
        return type(self.namespace().empty(0))

    def availability(self, kind: str, index: int) -> Availability:
        """Test a device by a computation, after its module and its number."""
        status = imported(self.module, self.module, f"install or fix {self.module}")
        if not status.usable:
            return status
        if index >= self.count(kind):
            return Availability(
                False,
                f"{self.module} has {self.count(kind)} device(s), numbered from 0",
                f"use {self.name!r}, its default device",
            )
        return self._probe(kind, index)

    def stem(self, kind: str) -> str:
        return self.name

    def device_name(self, kind: str, index: int) -> str:
        return self.name if index == self._default_number() else f"{self.name}:{index}"

    def _default_number(self) -> int:
        try:
            return self._default_index
        except Exception:  # a module that cannot be imported still has a name
            return 0

    def parse(self, spec: str) -> tuple[str, int] | None:
        name, colon, number = spec.partition(":")
        if name != self.name:
            return None
        if not colon:
            return KIND, self._default_number()
        return (KIND, int(number)) if number.isascii() and number.isdecimal() else None


def module_backend(spec: str, reserved: frozenset[str]) -> ModuleBackend | None:
    """Return the backend of a device name whose first part is an array namespace's module.

    None if there is no such module, or if its package is one of `reserved`: a built-in library.

    Raises
    ------
    InputError
        If the module is no array namespace.
    """
    module = spec.partition(":")[0]
    if not all(part.isidentifier() for part in module.split(".")):
        return None
    if module.partition(".")[0] in reserved or not _exists(module):
        return None
    backend = ModuleBackend(module)
    try:
        namespace = backend.namespace()
    except Exception:  # its availability says what is broken
        return backend
    missing = [name for name in NEEDED if not hasattr(namespace, name)]
    if missing:
        raise InputError(
            f"device {spec!r}: expected a device, or a module that is an array API namespace; the "
            f"module {module} lacks {', '.join(missing)}; {LIST_FUNCTIONS}"
        )
    return backend


def _exists(module: str) -> bool:
    if sys.modules.get(module) is not None:
        return True
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a parent, which is no package or does not exist
        return False
    except Exception:  # a parent that cannot be imported: the availability says why
        return True

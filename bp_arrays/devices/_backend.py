"""`Backend`: the interface to an array library, with defaults from the array API standard."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from bp_arrays.typing import Array, HostArray, Namespace

DTYPES = {
    "float32": "real floating",
    "float64": "real floating",
    "int32": "signed integer",
    "int64": "signed integer",
    "uint32": "unsigned integer",
    "bool": "bool",
}
"""The dtypes that the library uses, and their kinds in the standard."""

RunsAs = Literal["replay", "jit", "cuda graph", "eager"]
"""How the training steps of a library run; see `Device.runs_as`."""


@dataclass(frozen=True)
class Availability:
    """The availability of a device; if it cannot be used, the reason and advice."""

    usable: bool
    reason: str = ""
    advice: str = ""


class Backend:
    """An array library: its namespace, its devices, and the transfer of arrays.

    Subclass it, set `name` and `module`, and pass it to `bp.devices.register`. Everything else has
    a default from the array API standard; override what differs in your library.
    In every method, `kind` and `index` are those of a `Device`: "yours:gpu:1" is ("gpu", 1).

    Attributes
    ----------
    name : str
        The first word of its devices' names: "yours" in "yours:gpu". A letter, then letters,
        digits or underscores, as for each of `kinds`.
    module : str
        The import path of the namespace, such as "yours.array_api"; imported when a device of
        the library is first used.
    kinds : tuple of str, default ("cpu",)
        The kinds of devices. With more than one, override `native`.
    numbered_kinds : frozenset of str, default frozenset()
        The kinds of which a machine may have several: their names end in a number, "yours:gpu:0".
    asynchronous_kinds : frozenset of str, default frozenset()
        The kinds on which a call returns before its result is computed.

    Examples
    --------
    >>> from bp_arrays.devices import Backend
    >>> class Strict(Backend):
    ...     name = "mine"
    ...     module = "array_api_strict"
    >>> Strict().device_name("cpu", 0)
    'mine:cpu'
    """

    name: str = ""
    module: str = ""
    kinds: tuple[str, ...] = ("cpu",)
    numbered_kinds: frozenset[str] = frozenset()
    asynchronous_kinds: frozenset[str] = frozenset()

    # Not for registered libraries: the first two promise that arrays are NumPy's own, the third
    # names a way of running that the execution room knows.
    is_host: bool = False
    is_writable: bool = False
    runs_as: RunsAs = "eager"
    is_for_checking: bool = False

    def namespace(self) -> Namespace:
        """Import and return the array API namespace; by default `module`."""
        return importlib.import_module(self.module)

    def native(self, kind: str, index: int) -> Any:
        """Return the library's device object, for `device=` of its creation functions.

        By default the standard's: the `index`-th of `__array_namespace_info__().devices()` for a
        numbered kind, else the default device; None, which is the default too, without the
        inspection functions.
        """
        info = getattr(self.namespace(), "__array_namespace_info__", None)
        if info is None:
            return None
        return info().devices()[index] if kind in self.numbered_kinds else info().default_device()

    def count(self, kind: str) -> int:
        """Return the number of devices of a numbered kind on this machine; 1 for other kinds."""
        if kind not in self.numbered_kinds:
            return 1
        return len(self.namespace().__array_namespace_info__().devices())

    def from_host(self, host: HostArray, dtype: Any, kind: str, index: int) -> Array:
        """Return a copy of a contiguous NumPy array on the device; by default by `asarray`."""
        return self.namespace().asarray(
            host, dtype=dtype, device=self.native(kind, index), copy=True
        )

    def to_host(self, array: Array) -> HostArray:
        """Return a copy of the array as NumPy; by default by DLPack, else by `np.array`."""
        if not hasattr(array, "__dlpack__"):
            return np.array(array, copy=True)
        try:
            return np.array(np.from_dlpack(array, device="cpu"), copy=True)
        except TypeError:  # before the standard of 2023, __dlpack__ had no dl_device=
            return np.array(np.from_dlpack(array), copy=True)

    def locate(self, array: Any) -> tuple[str, int] | None:
        """Return (kind, index) of an array of this library, None for anything else.

        By default an array is this library's if its `__array_namespace__` is `namespace()`; if
        there are several devices, its `device` selects one.
        """
        if self.module not in sys.modules or isinstance(array, type):
            return None  # a library that was not imported has no arrays
        namespace_of = getattr(array, "__array_namespace__", None)
        if namespace_of is None or namespace_of() is not self.namespace():
            return None
        if len(self.kinds) == 1 and not self.numbered_kinds:
            return self.kinds[0], 0
        for device, kind, index in self._devices_of_arrays:
            if getattr(array, "device", None) == device:
                return kind, index
        return None

    @cached_property
    def _devices_of_arrays(self) -> list[tuple[Any, str, int]]:
        """The `device` of an array on each device, which is not always one of `devices()`."""
        empty = self.namespace().empty
        return [
            (empty(0, device=self.native(kind, index)).device, kind, index)
            for kind in self.kinds
            for index in range(self.count(kind))
        ]

    def dtype(self, name: str, kind: str, index: int) -> Any:
        """Return the library's dtype of this name, None if the device lacks it."""
        return getattr(self.namespace(), name, None)

    def dtype_advice(self, name: str) -> str:
        """Return how to enable a dtype that the library's settings disable, or ""."""
        return ""

    def activate(self, kind: str, index: int) -> AbstractContextManager[Any]:
        """Return the context in which the library computes on this device; by default no-op."""
        return nullcontext()

    def detached(self, array: Array) -> Array:
        """Return the array detached from its library's autograd; by default unchanged."""
        return array

    def synchronize(self, kind: str, index: int) -> None:
        """Wait until the device has finished all work; by default it computes synchronously."""
        return

    def description(self, kind: str, index: int) -> str:
        """Return the library, its version and, for an accelerator, its model."""
        root = sys.modules.get(self.module.partition(".")[0])
        version = getattr(self.namespace(), "__version__", getattr(root, "__version__", ""))
        return f"{self.name} {version}".strip()

    def is_emulated(self, kind: str, index: int) -> bool:
        """True if no hardware of this kind takes part; by default it does."""
        return False

    def availability(self, kind: str, index: int) -> Availability:
        """Test a device by a computation on it."""
        advice = f"install the package with the module {self.module!r}"
        status = imported(self.module, self.module, advice)
        return status if not status.usable else self._probe(kind, index)

    def _probe(self, kind: str, index: int) -> Availability:
        """Copy two ones to the device, add two, copy the threes back; report the first fault."""
        what = self.device_name(kind, index)
        try:
            fault, advice = self._first_fault(kind, index, what)
        except Exception as error:  # a library may raise anything
            fault = f"a probe on {what} failed: {one_line(error)}"
            advice = f"fix {self.module}, or override methods of {type(self).__name__}"
        return Availability(not fault, fault, advice)

    def _first_fault(self, kind: str, index: int, what: str) -> tuple[str, str]:
        override = f"override {type(self).__name__}."
        dtype = self.dtype("float32", kind, index)
        if dtype is None:
            return f"{self.module} has no float32", f"add it, or {override}dtype"
        with self.activate(kind, index):
            array = self.from_host(np.ones(2, np.float32), dtype, kind, index)
            array_dtype = getattr(array, "dtype", None)
            if array_dtype != dtype:
                return (
                    f"an array made on {what} with dtype={dtype} has the dtype {array_dtype}",
                    f"fix asarray of {self.module}, or {override}from_host",
                )
            if not hasattr(array, "device"):
                return (
                    f"arrays of {self.module} have no attribute 'device'",
                    "add it, as the array API standard requires",
                )
            location = self.locate(array)
            if location != (kind, index):
                where = "" if location is None else f" but on {self.device_name(*location)}"
                return (
                    f"an array made on {what} is not located on it{where}",
                    f"fix __array_namespace__ or device of its arrays, or {override}locate",
                )
            host = self.to_host(array + 2.0)
        if not isinstance(host, np.ndarray) or host.dtype != np.float32:
            host_dtype = getattr(host, "dtype", type(host).__name__)
            return f"float32 of {what} is copied back as {host_dtype}", f"{override}to_host"
        if host.tolist() != [3.0, 3.0]:
            return f"a probe on {what} computed 1 + 2 = {host[0]}", "do not use this device"
        return self._dtype_fault(kind, index), f"fix it, or {override}dtype"

    def _dtype_fault(self, kind: str, index: int) -> str:
        """Return what is wrong with a dtype, such as one that the namespace wraps; "" if nothing.

        `isdtype` creates no array: a device may lack a dtype that its namespace defines.
        """
        isdtype = getattr(self.namespace(), "isdtype", None)
        if isdtype is None:
            return ""  # `bp-arrays check --functions` lists it as missing
        for name, category in DTYPES.items():
            dtype = self.dtype(name, kind, index)
            if dtype is None:
                continue
            try:
                fault = "" if bool(isdtype(dtype, category)) else f"isdtype says no {category}"
            except Exception as error:
                fault = one_line(error)
            if fault:
                return f"{self.module}.{name} is {dtype!r:.60}, not a dtype ({fault:.100})"
        return ""

    def stem(self, kind: str) -> str:
        """Return the name of a device of this kind, without its number."""
        return f"{self.name}:{kind}"

    def device_name(self, kind: str, index: int) -> str:
        """Return the name of a device, as `bp.device` expects it."""
        return self.stem(kind) + (f":{index}" if kind in self.numbered_kinds else "")

    def parse(self, spec: str) -> tuple[str, int] | None:
        """Return (kind, index) of the device of this name, None if it is not of this library."""
        if len(self.kinds) == 1 and spec == self.stem(self.kinds[0]).removesuffix(
            f":{self.kinds[0]}"
        ):
            return self.kinds[0], 0  # the name of the library alone, as it has one device
        for kind in self.kinds:
            if spec == self.stem(kind):
                return kind, 0
            number = spec.removeprefix(f"{self.stem(kind)}:")
            if kind in self.numbered_kinds and number.isascii() and number.isdecimal():
                return kind, int(number)
        return None


def imported(module: str, package: str, advice: str) -> Availability:
    """Import a module; return whether it is available, missing or broken."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == module.partition(".")[0]:
            return Availability(False, f"{package} is not installed", advice)
        return _broken(package, error)
    except Exception as error:
        return _broken(package, error)
    return Availability(True)


def _broken(package: str, error: Exception) -> Availability:
    return Availability(
        False,
        f"{package} is installed but broken: {one_line(error)}",
        f"reinstall {package}",
    )


def one_line(error: BaseException) -> str:
    """Return the class and message of an error on one line, shortened."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def probed(compute: Callable[[], float], what: str) -> Availability:
    """Test that 1 + 2, computed on the device, is 3."""
    try:
        answer = compute()
    except Exception as error:
        return Availability(
            False,
            f"a probe on {what} failed: {one_line(error)}",
            "check that the library's build supports the driver",
        )
    if answer != 3.0:
        return Availability(
            False, f"a probe on {what} computed 1 + 2 = {answer}", "do not use this device"
        )
    return Availability(True)

"""`Backend`: what bp_arrays must know of an array library, with defaults from the standard."""

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

RunsAs = Literal["replay", "jit", "cuda graph", "eager"]
"""How the training steps of a library run; `Device.runs_as` says what each means."""


@dataclass(frozen=True)
class Availability:
    """The usability of a device: if it cannot be used, exactly why, and what to do."""

    usable: bool
    reason: str = ""
    advice: str = ""


class Backend:
    """An array library: its namespace, its devices, and the way of an array in and out.

    Subclass it, set `name` and `module`, and pass it to `bp.devices.register`. All else has a
    default made of the array API standard alone; override what your library does otherwise.
    In every method, `kind` and `index` are those of a `Device`: "yours:gpu:1" is ("gpu", 1).

    Attributes
    ----------
    name : str
        The first word of its devices' names: "yours" in "yours:gpu". A letter, then letters,
        digits or underscores, as for each of `kinds`.
    module : str
        The import path of the namespace, such as "yours.array_api"; imported when a device of
        it is first used.
    kinds : tuple of str, default ("cpu",)
        What devices there are. With more than one, override `native`.
    numbered_kinds : frozenset of str, default frozenset()
        The kinds of which a machine may have several: their names end in a number, "yours:gpu:0".
    asynchronous_kinds : frozenset of str, default frozenset()
        The kinds on which a call returns before its result is there.

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
        """The array API namespace; imports the library. By default `module`."""
        return importlib.import_module(self.module)

    def native(self, kind: str, index: int) -> Any:
        """The library's own device object, as `device=` of its creation functions takes it.

        By default the standard's: the `index`-th of `__array_namespace_info__().devices()` for a
        numbered kind, else the default device; None, which is the default too, without the
        inspection functions.
        """
        info = getattr(self.namespace(), "__array_namespace_info__", None)
        if info is None:
            return None
        return info().devices()[index] if kind in self.numbered_kinds else info().default_device()

    def count(self, kind: str) -> int:
        """How many devices of a kind this machine has: of a numbered one all, else 1."""
        if kind not in self.numbered_kinds:
            return 1
        return len(self.namespace().__array_namespace_info__().devices())

    def from_host(self, host: HostArray, dtype: Any, kind: str, index: int) -> Array:
        """A copy of a contiguous NumPy array on the device; by default through `asarray`."""
        return self.namespace().asarray(
            host, dtype=dtype, device=self.native(kind, index), copy=True
        )

    def to_host(self, array: Array) -> HostArray:
        """A copy of the array as NumPy; by default through DLPack, else through `np.array`."""
        if not hasattr(array, "__dlpack__"):
            return np.array(array, copy=True)
        try:
            return np.array(np.from_dlpack(array, device="cpu"), copy=True)
        except TypeError:  # a __dlpack__ from before the standard of 2023, without dl_device=
            return np.array(np.from_dlpack(array), copy=True)

    def locate(self, array: Any) -> tuple[str, int] | None:
        """(kind, index) of an array of this library, None for anything else.

        By default an array is this library's if its `__array_namespace__` is `namespace()`, and
        its `device` says which one, where there are several.
        """
        if self.module not in sys.modules or isinstance(array, type):
            return None  # a library that nobody has imported yet has no arrays
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
        """What an array on each device has as its `device`: not always one of `devices()`."""
        empty = self.namespace().empty
        return [
            (empty(0, device=self.native(kind, index)).device, kind, index)
            for kind in self.kinds
            for index in range(self.count(kind))
        ]

    def dtype(self, name: str, kind: str, index: int) -> Any:
        """The library's dtype of that name, None where this device has none."""
        return getattr(self.namespace(), name, None)

    def dtype_advice(self, name: str) -> str:
        """How to get a dtype that is missing as the library is set up, or ""."""
        return ""

    def activate(self, kind: str, index: int) -> AbstractContextManager[Any]:
        """The context in which the library computes on this device; by default nothing."""
        return nullcontext()

    def detached(self, array: Array) -> Array:
        """The array without its library's record of how it was computed; by default as it is."""
        return array

    def synchronize(self, kind: str, index: int) -> None:
        """Wait until the device has done all it was given; by default it computes at once."""
        return

    def description(self, kind: str, index: int) -> str:
        """The library, its version and, for an accelerator, which one."""
        root = sys.modules.get(self.module.partition(".")[0])
        version = getattr(self.namespace(), "__version__", getattr(root, "__version__", ""))
        return f"{self.name} {version}".strip()

    def is_emulated(self, kind: str, index: int) -> bool:
        """True if no hardware of this kind takes part; by default it does."""
        return False

    def availability(self, kind: str, index: int) -> Availability:
        """Test a device by computing on it."""
        status = imported(self.module, self.module, f"install what has the module {self.module!r}")
        return status if not status.usable else self._probe(kind, index)

    def _probe(self, kind: str, index: int) -> Availability:
        """Send two ones there, add two, read the threes; say which of the steps goes wrong."""
        what = self.device_name(kind, index)
        try:
            fault, advice = self._first_fault(kind, index, what)
        except Exception as error:  # of any class: it is somebody else's library
            fault = f"a probe on {what} failed: {one_line(error)}"
            advice = f"mend {self.module}, or override methods of {type(self).__name__}"
        return Availability(not fault, fault, advice)

    def _first_fault(self, kind: str, index: int, what: str) -> tuple[str, str]:
        override = f"override {type(self).__name__}."
        dtype = self.dtype("float32", kind, index)
        if dtype is None:
            return f"{self.module} has no float32", f"add it, or {override}dtype"
        with self.activate(kind, index):
            array = self.from_host(np.ones(2, np.float32), dtype, kind, index)
            its_dtype = getattr(array, "dtype", None)
            if its_dtype != dtype:
                return (
                    f"an array made on {what} with dtype={dtype} has the dtype {its_dtype}",
                    f"mend asarray of {self.module}, or {override}from_host",
                )
            if not hasattr(array, "device"):
                return (
                    f"arrays of {self.module} have no attribute 'device'",
                    "add it, as the array API standard asks",
                )
            location = self.locate(array)
            if location != (kind, index):
                where = "" if location is None else f" but on {self.device_name(*location)}"
                return (
                    f"an array made on {what} is not recognized as there{where}",
                    f"mend __array_namespace__ or device of its arrays, or {override}locate",
                )
            host = self.to_host(array + 2.0)
        if not isinstance(host, np.ndarray) or host.dtype != np.float32:
            its = getattr(host, "dtype", type(host).__name__)
            return f"float32 of {what} comes back as {its}", f"{override}to_host"
        if host.tolist() != [3.0, 3.0]:
            return f"a probe on {what} computed 1 + 2 = {host[0]}", "do not use this device"
        return "", ""

    def stem(self, kind: str) -> str:
        """The name of a device of this kind, without its number."""
        return f"{self.name}:{kind}"

    def device_name(self, kind: str, index: int) -> str:
        """As `bp.device` takes it."""
        return self.stem(kind) + (f":{index}" if kind in self.numbered_kinds else "")

    def parse(self, spec: str) -> tuple[str, int] | None:
        """(kind, index) of the device of that name, None if this library has none."""
        if len(self.kinds) == 1 and spec == self.stem(self.kinds[0]).removesuffix(
            f":{self.kinds[0]}"
        ):
            return self.kinds[0], 0  # the library's name says it all
        for kind in self.kinds:
            if spec == self.stem(kind):
                return kind, 0
            number = spec.removeprefix(f"{self.stem(kind)}:")
            if kind in self.numbered_kinds and number.isascii() and number.isdecimal():
                return kind, int(number)
        return None


def imported(module: str, package: str, advice: str) -> Availability:
    """Try to import a module; tell a missing one from a broken one."""
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


def one_line(error: Exception) -> str:
    """The class and message of an error without line breaks, cut where it is long."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def probed(compute: Callable[[], float], what: str) -> Availability:
    """Check that adding one and two on the device gives three."""
    try:
        answer = compute()
    except Exception as error:
        return Availability(
            False,
            f"a probe on {what} failed: {one_line(error)}",
            "check the driver and that the library's build suits it",
        )
    if answer != 3.0:
        return Availability(
            False, f"a probe on {what} computed 1 + 2 = {answer}", "do not use this device"
        )
    return Availability(True)

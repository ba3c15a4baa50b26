"""What the device room needs to know of an array library, and how it says that it is missing."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from bp_arrays.typing import Array, HostArray, Namespace


@dataclass(frozen=True)
class Availability:
    """Whether a device can be used; if not, exactly why, and what to do."""

    usable: bool
    reason: str = ""
    advice: str = ""


class Backend(ABC):
    """An array library: its namespace, its devices, and the way of an array in and out.

    `kind` and `index` are those of the `Device`: ("cuda", 1).
    """

    name: str
    asynchronous_kinds: frozenset[str] = frozenset()
    is_writable: bool = False

    @abstractmethod
    def namespace(self) -> Namespace:
        """The array API namespace; imports the library."""

    @abstractmethod
    def availability(self, kind: str, index: int) -> Availability:
        """Whether a device computes, found out by computing on it."""

    @abstractmethod
    def native(self, kind: str, index: int) -> Any:
        """The library's own device object, as its creation functions take it."""

    @abstractmethod
    def from_host(self, host: HostArray, dtype: Any, kind: str, index: int) -> Array:
        """A copy of a contiguous host array on the device."""

    @abstractmethod
    def to_host(self, array: Array) -> HostArray:
        """The array as NumPy, in memory of its own."""

    @abstractmethod
    def place_of(self, array: Any) -> tuple[str, int] | None:
        """(kind, index) of an array of this library; None for anything else."""

    def activate(self, kind: str, index: int) -> AbstractContextManager[Any]:
        """The context in which the library computes on this device."""
        return nullcontext()

    def detached(self, array: Array) -> Array:
        """The array without its library's record of how it was computed; by default as it is."""
        return array

    def synchronize(self, kind: str, index: int) -> None:
        """Wait until the device has done all it was given; the default computes at once."""
        return

    def dtype(self, name: str, kind: str, index: int) -> Any:
        """The library's dtype of that name, or None where this device has none."""
        return getattr(self.namespace(), name, None)

    @abstractmethod
    def description(self, kind: str, index: int) -> str:
        """The library, its version and, for an accelerator, which one."""


def imported(module: str, package: str, advice: str) -> Availability:
    """Whether a module can be imported; a missing one and a broken one are told apart."""
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
    said = " ".join(str(error).split())
    return Availability(
        False,
        f"{package} is installed but broken: {type(error).__name__}: {said}",
        f"reinstall {package}",
    )


def probed(compute: Callable[[], float], what: str) -> Availability:
    """Whether adding one and two on the device gives three."""
    try:
        answer = compute()
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        return Availability(
            False,
            f"a probe on {what} failed: {type(error).__name__}: {said}",
            "check the driver and that the library's build suits it",
        )
    if answer != 3.0:
        return Availability(
            False, f"a probe on {what} computed 1 + 2 = {answer}", "do not use this device"
        )
    return Availability(True)

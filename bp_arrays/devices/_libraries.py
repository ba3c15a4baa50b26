"""The registry of array libraries: built in, registered, or offered by entry points of packages.

An installed package offers its library by an entry point of the group "bp_arrays.backends". A
library that needs nothing but the standard is found by the name of its module. Entry points are
looked up only when a device name is unknown, when devices are listed, or when an array is of no
known library: importing bp_arrays imports no other array library and reads no metadata.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bp_arrays.devices._backend import Availability, Backend, one_line
from bp_arrays.devices._cupy import CuPyBackend
from bp_arrays.devices._jax import JaxBackend
from bp_arrays.devices._module import module_backend
from bp_arrays.devices._numpy import NumPyBackend
from bp_arrays.devices._strict import StrictBackend
from bp_arrays.devices._torch import TorchBackend
from bp_arrays.errors import InputError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUPS = ("bp_arrays.backends", "bp_arrays.devices")
"""Groups of entry points; the second is the name that the first had in earlier versions."""
BUILT_IN: dict[str, Backend] = {
    backend.name: backend
    for backend in (NumPyBackend(), CuPyBackend(), TorchBackend(), JaxBackend(), StrictBackend())
}
RESERVED = {*BUILT_IN, "auto", "cpu", "cuda", "gpu"}
"""Names that no other library can have: each is the name of a device, or looks like one."""

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# both are replaced, never changed, as threads may iterate over them
_added: dict[str, Backend] = {}
_libraries: tuple[Backend, ...] = tuple(BUILT_IN.values())

logger = logging.getLogger("bp_arrays")


class Unloadable(Backend):
    """The library of an entry point that cannot be loaded; its devices are unavailable."""

    kinds = ("",)

    def __init__(self, name: str, reason: str, advice: str) -> None:
        self.name = name
        self._availability = Availability(False, reason, advice)

    def availability(self, kind: str, index: int) -> Availability:
        return self._availability

    def stem(self, kind: str) -> str:
        return f"{self.name}:{kind}" if kind else self.name

    def parse(self, spec: str) -> tuple[str, int] | None:
        """Return any device of the library, as its devices are unknown."""
        name, _, kind = spec.partition(":")
        return (kind, 0) if name == self.name else None

    def locate(self, array: object) -> None:
        return None


def libraries() -> tuple[Backend, ...]:
    """Return the known libraries, NumPy first."""
    return _libraries


def library(name: str) -> Backend:
    """Return the library of this name.

    Raises
    ------
    InputError
        If none is registered in this process, for example after unpickling a device.
    """
    backend = BUILT_IN.get(name) or _added.get(name)
    if backend is None:
        load_entry_points(name)
        load_module(name)  # a device unpickled in a process that has not used its module
        backend = _added.get(name)
    if backend is None:
        raise InputError(
            f"the array library {name!r} is not registered in this process; call "
            "bp.devices.register with its Backend first"
        )
    return backend


def register(backend: Backend | type[Backend]) -> None:
    """Add a library; registering the same class again, as in a notebook, replaces it.

    Raises
    ------
    InputError
        If the name is taken or reserved, or the backend is incomplete.
    """
    instance = checked(backend)
    other = _added.get(instance.name)
    if not (other is None or isinstance(other, Unloadable) or _is_same(instance, other)):
        raise InputError(
            f"bp.devices.register(name={instance.name!r}): expected a free name, it is taken by "
            f"{_class_name(other)}; choose another name, or call "
            f"bp.devices.unregister({instance.name!r}) first"
        )
    _replace({**_added, instance.name: instance})


def unregister(name: str) -> None:
    """Remove a registered library.

    Raises
    ------
    InputError
        If no library of this name was registered.
    """
    if name not in _added:
        raise InputError(
            f"bp.devices.unregister(name={name!r}): expected a registered library, one of "
            f"{', '.join(sorted(_added)) or 'none'}"
        )
    _replace({other: backend for other, backend in _added.items() if other != name})


def _replace(added: dict[str, Backend]) -> None:
    global _added, _libraries
    _added, _libraries = added, (*BUILT_IN.values(), *added.values())


def checked(backend: Backend | type[Backend]) -> Backend:
    """Return an instance of a backend, checked to be complete and without a reserved name."""
    instance = _called(backend) if isinstance(backend, type) else backend
    if not isinstance(instance, Backend):
        raise InputError(
            "bp.devices.register(backend): expected a subclass of bp_arrays.devices.Backend or "
            f"an instance of one, got {_class_name(instance)}"
        )
    fault = _fault(instance)
    if fault:
        raise InputError(f"bp.devices.register({type(instance).__name__}.{fault}")
    return instance


def _called(backend: type[Backend]) -> Backend:
    try:
        return backend()
    except Exception as error:  # a constructor may raise anything
        raise InputError(
            f"bp.devices.register({backend.__name__}): calling it without arguments raises "
            f"{one_line(error)}; pass an instance"
        ) from error


def _fault(backend: Backend) -> str:
    """Return the first invalid attribute, and what was expected, or ""."""
    name, kinds, numbered = backend.name, backend.kinds, backend.numbered_kinds
    if not (isinstance(name, str) and _WORD.fullmatch(name)):
        return f"name): expected a letter, then letters, digits or underscores, got {name!r}"
    if name in RESERVED:
        return f"name): expected a free name, {name!r} is reserved; choose another name"
    if not (isinstance(backend.module, str) and backend.module):
        return f"module): expected the import path of the namespace, got {backend.module!r}"
    if (
        not isinstance(kinds, (tuple, list))
        or not kinds
        or not all(isinstance(kind, str) and _WORD.fullmatch(kind) for kind in kinds)
    ):
        return f"kinds): expected names such as ('cpu', 'gpu'), got {kinds!r}"
    if not isinstance(numbered, (set, frozenset, tuple, list)) or not set(numbered) <= set(kinds):
        return f"numbered_kinds): expected some of {tuple(kinds)}, got {numbered!r}"
    if len(kinds) > 1 and type(backend).native is Backend.native:
        return f"native): expected an override that distinguishes the kinds {tuple(kinds)}"
    for attribute in ("is_host", "is_writable", "runs_as"):
        if getattr(backend, attribute) != getattr(Backend, attribute):
            return f"{attribute}): expected the default; only built-in libraries can set it"
    return _fault_of_locate(backend)


def _fault_of_locate(backend: Backend) -> str:
    """Return the fault of a `locate` that does not return None for other objects, or ""."""
    for value in (None, [1.0], np.zeros(1)):
        try:
            location = backend.locate(value)
        except Exception as error:  # a user's method may raise anything
            return f"locate): expected None for {value!r}, but it raises {one_line(error)}"
        if location is not None:
            return f"locate): expected None for {value!r}, got {location!r}"
    return ""


def load_entry_points(name: str | None = None) -> bool:
    """Add the libraries that installed packages offer, all or the one of this name.

    A library that cannot be loaded is added as `Unloadable`. Return True if any was added.
    """
    from importlib.metadata import entry_points

    points: dict[str, list[EntryPoint]] = {}
    for point in (point for group in GROUPS for point in entry_points(group=group)):
        if name in (None, point.name) and point.name not in _added:
            points.setdefault(point.name, []).append(point)
    backends = {}
    for point_name, same_name in points.items():
        if point_name in RESERVED:
            _warn_reserved(point_name, _packages(same_name))
        else:
            backends[point_name] = _loaded(point_name, same_name)
    _replace({**backends, **_added})  # importing a package may have registered libraries too
    return bool(backends)


def load_module(spec: str) -> bool:
    """Add the array namespace whose module a device name begins with; True if there is one.

    Raises
    ------
    InputError
        If the module exists but is no array namespace.
    """
    backend = module_backend(spec, frozenset(RESERVED))
    if backend is None or backend.name in _added:
        return False
    _replace({**_added, backend.name: backend})
    return True


@functools.cache
def load_all_once() -> bool:
    """Add the libraries of all entry points at the first call; return True if any was added."""
    return load_entry_points()


@functools.cache
def _warn_reserved(name: str, packages: str) -> None:
    logger.warning(
        "entry point %r of %s is not used: the name is reserved by bp_arrays", name, packages
    )


def _loaded(name: str, points: Sequence[EntryPoint]) -> Backend:
    packages = _packages(points)
    if len(points) > 1:
        return Unloadable(
            name, f"{packages} both offer an array library {name!r}", "uninstall one of them"
        )
    try:
        backend = checked(points[0].load())
        if backend.name != name:
            raise InputError(f"expected a Backend of the name {name!r}, got {backend.name!r}")
    except (Exception, SystemExit) as error:  # another package's module may raise anything
        return Unloadable(
            name,
            f"its entry point in {packages} cannot be loaded: {one_line(error)}",
            f"fix or uninstall {packages}",
        )
    return backend


def _packages(points: Sequence[EntryPoint]) -> str:
    names = [f"{p.dist.name} {p.dist.version}" if p.dist else "a package" for p in points]
    return " and ".join(sorted(names))


def _is_same(backend: Backend, other: Backend) -> bool:
    return _class_name(backend) == _class_name(other)


def _class_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"

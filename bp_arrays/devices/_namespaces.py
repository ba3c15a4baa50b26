"""`library_of`: the library of a namespace."""

from __future__ import annotations

from bp_arrays.typing import Namespace

MARK = "__backend__"
"""The attribute of a custom namespace with the name of its library; copies keep it."""

_names: dict[int, tuple[Namespace, str]] = {}


def remember_namespace(xp: Namespace, library: str) -> Namespace:
    """Record the library of a namespace; return the namespace."""
    _names[id(xp)] = xp, library
    return xp


def library_of(xp: Namespace) -> str | None:
    """Return the name of the library of a namespace.

    None for a namespace of no device, such as one that records operations.

    >>> from bp_arrays.devices import device
    >>> library_of(device("cpu").xp)
    'numpy'
    """
    if id(xp) in _names:
        return _names[id(xp)][1]
    return getattr(xp, MARK, None)

"""Tell which library a namespace belongs to, so that others need not know libraries by name."""

from __future__ import annotations

from bp_arrays.typing import Namespace

MARK = "__backend__"
"""The attribute of a namespace made here that holds its library's name; copies keep it."""

_names: dict[int, tuple[Namespace, str]] = {}


def remember_namespace(xp: Namespace, library: str) -> Namespace:
    """Keep in mind that this is the namespace of a library; returns it."""
    _names[id(xp)] = xp, library
    return xp


def library_of(xp: Namespace) -> str | None:
    """Return the name of the library whose arrays a namespace is for.

    None for a namespace that no device has handed out, such as one that records what is done.

    >>> from bp_arrays.devices import device
    >>> library_of(device("cpu").xp)
    'numpy'
    """
    if id(xp) in _names:
        return _names[id(xp)][1]
    return getattr(xp, MARK, None)

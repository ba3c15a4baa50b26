"""Look up classes and functions by name, ignoring case, "-" and "_"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from bp_arrays.errors import unknown_name

T = TypeVar("T")


def by_name(kind: str, name: str, table: Mapping[str, T], *, suffix: str = "") -> T:
    """Return the entry of a table with this name; case, "-" and "_" are ignored.

    Parameters
    ----------
    kind : str
        Kind of the entries, for the message: "activation".
    name : str
    table : mapping of str to anything
    suffix : str, optional
        An optional ending of the names: with "loss", "l2" finds "L2Loss".

    Raises
    ------
    InputError
        If no entry has this name; the message suggests the nearest one.

    Examples
    --------
    >>> by_name("fruit", "blood-orange", {"BloodOrange": 1, "Lemon": 2})
    1
    """
    plain = _plain(name).removesuffix(suffix)
    for known, value in table.items():
        if _plain(known).removesuffix(suffix) == plain:
            return value
    raise unknown_name(kind, name, table)


def _plain(name: str) -> str:
    return str(name).lower().replace("-", "").replace("_", "")

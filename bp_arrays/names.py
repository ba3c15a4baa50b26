"""Find things by the name a user writes: capitals, "-" and "_" do not matter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from bp_arrays.errors import unknown_name

T = TypeVar("T")


def by_name(kind: str, name: str, table: Mapping[str, T], *, suffix: str = "") -> T:
    """Return the entry of a table with this name.

    Parameters
    ----------
    kind : str
        What the entries are, for the message: "activation".
    name : str
        Compared without capitals, "-" and "_".
    table : mapping of str to anything
    suffix : str, optional
        An ending that may be left out: "loss" finds "L2Loss" by "l2".

    Raises
    ------
    InputError
        If no entry has that name; the message has the nearest one.

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

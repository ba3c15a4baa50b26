"""The errors this library raises at its doors.

Every message says what was expected, what came, and what to do about it, in one line,
so that the command line can print it as it stands.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BpArraysError(Exception):
    """Base of every error raised on purpose by this library."""


class InputError(BpArraysError, ValueError):
    """Something handed in has the wrong shape, dtype, range or name."""


class DataError(InputError):
    """A data or model file cannot be read as what it claims to be."""


class DeviceMismatchError(InputError):
    """Arrays of different namespaces or devices meet in one call."""


class DeviceUnavailableError(BpArraysError, RuntimeError):
    """A device was asked for by name and cannot compute on this machine."""


class MissingExtraError(BpArraysError, ImportError):
    """An optional dependency is needed; the message names the extra that brings it."""


class NonFiniteLossError(BpArraysError, ArithmeticError):
    """The training loss became NaN or infinite; the model keeps its last good parameters."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that does not exist, with the nearest one that does.

    >>> str(unknown_name("activation", "relo", ["ReLU", "Tanh"]))
    "unknown activation 'relo': did you mean 'ReLU'? Known: ReLU, Tanh"
    """
    known = sorted(known)
    by_lower = {k.lower(): k for k in known}
    nearest = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.5)
    hint = f" did you mean {by_lower[nearest[0]]!r}?" if nearest else ""
    return InputError(f"unknown {kind} {name!r}:{hint} Known: {', '.join(known)}")

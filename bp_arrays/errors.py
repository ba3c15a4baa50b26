"""Exceptions of the library.

Every message is one line that says what was expected, what was passed and what to do, so that
the command line can print it unchanged.
"""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterable


class BpArraysError(Exception):
    """Base class of every error that this library raises on purpose."""


class InputError(BpArraysError, ValueError):
    """An argument of the wrong type, shape, dtype, range or name."""


class DataError(InputError):
    """A data or model file that is damaged or of another format."""


class DeviceMismatchError(InputError):
    """Arrays of different namespaces or devices in one call."""


class DeviceUnavailableError(BpArraysError, RuntimeError):
    """A device that was requested by name but cannot compute on this machine."""


class MissingExtraError(BpArraysError, ImportError):
    """An optional dependency that is not installed; the message names the extra to install."""


class OutOfMemoryError(BpArraysError, MemoryError):
    """Too little memory for a batch, on any device; the model keeps its parameters."""


class NonFiniteLossError(BpArraysError, ArithmeticError):
    """A training loss that is NaN or infinite; the model keeps its last good parameters."""


class BpArraysWarning(UserWarning):
    """Something that works, but hardly as intended; the message says what to change.

    To silence it: `warnings.simplefilter("ignore", bp.BpArraysWarning)`.
    """


def warn(message: str) -> None:
    """Warn at the line of the user's code that called this library."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("bp_arrays."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, BpArraysWarning, stacklevel=level)


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for an unknown name, with the nearest known one.

    >>> str(unknown_name("activation", "relo", ["ReLU", "Tanh"]))
    "unknown activation 'relo': did you mean 'ReLU'? Known: ReLU, Tanh"
    """
    known = sorted(known)
    by_lower = {k.lower(): k for k in known}
    nearest = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.5)
    hint = f" did you mean {by_lower[nearest[0]]!r}?" if nearest else ""
    return InputError(f"unknown {kind} {name!r}:{hint} Known: {', '.join(known)}")

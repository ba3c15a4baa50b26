"""The functions of the array API that a namespace must have, and which of them a device lacks."""

from __future__ import annotations

from bp_arrays.devices import Device
from bp_arrays.testing.cases._functions import FUNCTIONS

DTYPES_NEEDED = ("bool", "int32", "int64", "uint32", "float32", "float64")


def functions() -> list[str]:
    """Return the names of the array API functions that the library calls.

    >>> {"exp", "matrix_transpose", "where"} <= set(functions())
    True
    """
    return sorted(FUNCTIONS)


def missing_functions(device: Device) -> list[str]:
    """Return the names of `functions` that the namespace of a device lacks.

    >>> from bp_arrays.devices import device
    >>> missing_functions(device("cpu"))
    []
    """
    return [name for name in functions() if not hasattr(device.xp, name)]

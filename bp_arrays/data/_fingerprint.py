"""Fingerprints of data: equal for equal data on any device, different for other data."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from bp_arrays.devices import device_of
from bp_arrays.inputs import is_on_host
from bp_arrays.trees import Tree, leaves, map_tree
from bp_arrays.typing import HostArray

WHOLE_BYTES = 2**26
"""Arrays of up to this many bytes are read as a whole; of larger ones, rows at equal distances."""

SAMPLED_ROWS = 1024


def fingerprint(tree: Tree, dtypes: Tree = None) -> str:
    """Return the BLAKE2b hash of the values of arrays: of all, or of 1024 rows of large ones.

    Parameters
    ----------
    tree : array, or tuple or dict of arrays
        On the host, on disk, or on a device; None counts too.
    dtypes : str, or tree of str, optional
        The dtypes that floating-point values are rounded to first, as a device stores them.
    """
    digest = hashlib.blake2b(digest_size=16)
    names: Any = map_tree(lambda _: "float64", tree) if dtypes is None else dtypes
    digest.update(repr(map_tree(lambda array: tuple(array.shape), tree)).encode())
    for array, dtype in zip(leaves(tree), leaves(names), strict=True):
        digest.update(np.ascontiguousarray(_values(array, dtype)).tobytes())
    return digest.hexdigest()


def _values(array: Any, dtype: str) -> HostArray:
    """Return the values to hash, in a dtype that does not depend on the device."""
    size = int(np.prod(array.shape)) * 8
    rows: Any = slice(None)
    if size > WHOLE_BYTES:
        rows = np.unique(np.linspace(0, array.shape[0] - 1, SAMPLED_ROWS).astype(np.int64))
    if is_on_host(array):
        values = np.asarray(array[rows] if array.shape else array)
    else:
        device = device_of(array)
        with device.activate():
            if not isinstance(rows, slice):
                array = device.xp.take(array, device.asarray(rows, "int64"), axis=0)
            values = device.to_numpy(array)
    if "int" in dtype or "bool" in dtype:
        dtype = "int64"
    # + 0, as -0.0 and 0.0 are equal numbers
    return np.asarray(values, "float32" if dtype == "bfloat16" else dtype) + 0

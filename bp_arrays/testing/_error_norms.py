"""Relative error of a result in units of the dtype's eps.

An element-wise relative error means nothing for a gradient: sums that nearly cancel have a large
one in any arithmetic. The norm of the error relative to the norm of the reference is stable over
sizes: the 2-norm shows a small fault in all elements, the maximum norm a large fault in one.
"""

from __future__ import annotations

import numpy as np

from bp_arrays.typing import HostArray

EPS = {
    "float64": 2.0**-52,
    "float32": 2.0**-23,
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
}
SMALLEST_NORMAL = {
    "float64": 2.0**-1022,
    "float32": 2.0**-126,
    "float16": 2.0**-14,
    "bfloat16": 2.0**-126,
}


def error_in_eps(result: HostArray, reference: HostArray, dtype: str) -> float:
    """Return the larger of the two relative errors of a result, in eps of the dtype.

    Infinity if the shapes differ, or if NaN and infinities are not at the same elements.

    >>> error_in_eps(np.array([1.0, 2.0]), np.array([1.0, 2.0 + 2**-51]), "float64") < 1.0
    True
    """
    if result.shape != reference.shape:
        return float("inf")
    if reference.size == 0:
        return 0.0
    result = result.astype(np.float64)
    finite = np.isfinite(reference)
    same_specials = np.array_equal(result[~finite], reference[~finite], equal_nan=True)
    if not same_specials or not np.isfinite(result[finite]).all():
        return float("inf")
    exact = np.where(finite, reference, 0.0)
    scale = float(np.max(np.abs(exact)))
    # Devices may flush numbers below the smallest normal one to zero: there, anything small passes.
    floor = SMALLEST_NORMAL[dtype] / EPS[dtype]
    if scale <= floor:
        largest = float(np.max(np.abs(np.where(finite, result, 0.0))))
        return 0.0 if largest <= floor else float("inf")
    error = (np.where(finite, result, 0.0) - exact) / scale
    exact = exact / scale
    in_two_norm = float(np.linalg.norm(error)) / float(np.linalg.norm(exact))
    in_maximum_norm = float(np.max(np.abs(error)))
    return max(in_two_norm, in_maximum_norm) / EPS[dtype]


def largest_error_in_eps(result: HostArray, reference: HostArray, dtype: str) -> float:
    """Return the largest relative error of an element, in eps of the dtype.

    Infinity if the shapes differ, or if NaN and infinities are not at the same elements.

    >>> largest_error_in_eps(np.array([1e9, 2.0]), np.array([1e9, 1.0]), "float64") == 2.0**52
    True
    """
    if result.shape != reference.shape:
        return float("inf")
    pairs = zip(result.ravel(), reference.ravel(), strict=True)
    each = (error_in_eps(np.asarray(one), np.asarray(other), dtype) for one, other in pairs)
    return max(each, default=0.0)

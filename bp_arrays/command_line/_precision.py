"""The dtype of a training run: one that can tell the values of every column apart."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from bp_arrays.command_line._standardizing import ColumnStatistics
from bp_arrays.devices import Device
from bp_arrays.errors import DataError, InputError
from bp_arrays.readers import Dataset
from bp_arrays.typing import HostArray

DEFAULT = "float32"

BFLOAT16_EPS = 2.0**-7

ROUGH = 0.01
"""Rounding of a column by more than this fraction of its standard deviation is too much.

Or by 16 times the relative rounding of the dtype, if that is more, as in half precision.
"""

logger = logging.getLogger(__name__)


def dtype_for(
    data: Dataset,
    features: ColumnStatistics,
    targets: ColumnStatistics | None,
    device: Device,
    requested: str | None,
) -> str:
    """Return the requested dtype; by default float32, or float64 if the data requires it.

    Parameters
    ----------
    data : Dataset
    features, targets : ColumnStatistics
        Measured on the training rows; `targets` is None for classes.
    device : Device
    requested : str or None

    Raises
    ------
    DataError
        If the requested dtype, or float64, cannot represent the data.
    """
    dtype = requested or DEFAULT
    problem = _problem(data, features, targets, dtype)
    if problem is None:
        return dtype
    wide = None if dtype == "float64" else _problem(data, features, targets, "float64")
    if dtype == "float64" or wide is not None:
        raise DataError(f"{data.source}: {wide or problem}; change its unit")
    if requested is not None:
        raise DataError(f"{data.source}: {problem}; change its unit, or use --dtype float64")
    try:
        device.dtype("float64")
    except InputError as error:
        raise DataError(f"{data.source}: {problem}; expected float64, but {error}") from None
    logger.info("%s: training in float64", problem)
    return "float64"


def _problem(
    data: Dataset, features: ColumnStatistics, targets: ColumnStatistics | None, dtype: str
) -> str | None:
    """Describe the first column that this dtype cannot represent, or return None."""
    found = _problem_of("feature", data.feature_names, data.x, features, dtype)
    if found is None and targets is not None and data.t is not None:
        found = _problem_of("target", data.target_names, data.t, targets, dtype)
    return found


def _problem_of(
    kind: str, names: Sequence[str], values: HostArray, columns: ColumnStatistics, dtype: str
) -> str | None:
    limits = np.finfo("float32" if dtype == "bfloat16" else dtype)  # they have one range
    eps = BFLOAT16_EPS if dtype == "bfloat16" else float(limits.eps)
    largest, smallest = float(limits.max), float(limits.tiny)
    exact = dtype == "float64" or (
        dtype != "bfloat16" and np.can_cast(values.dtype, dtype, casting="safe")
    )
    greatest = np.maximum(np.abs(values.min(axis=0)), np.abs(values.max(axis=0)))  # of all rows
    for problems, text in (
        # a difference of two values must be a number too, and the reciprocal of the scale
        (greatest > largest / 2, "reaches {large:.3g}, and the largest number in {dtype} is {max}"),
        (columns.scale > 1.0 / smallest, "varies by {scale:.3g}, too much for {dtype}"),
        (~columns.constant & (columns.scale < 4.0 * smallest),
         "varies by {scale:.3g}, too little for {dtype}"),
        (~columns.constant & (eps * columns.largest > max(ROUGH, 16 * eps) * columns.scale)
         & (not exact),
         "has values near {large:.6g} that vary by {scale:.3g}, which {dtype} cannot tell apart"),
    ):  # fmt: skip
        for k in np.flatnonzero(problems)[:1]:
            name = f"{kind} {names[k]!r}" if names else f"{kind} {k} (counted from 0)"
            return f"{name} " + text.format(
                large=greatest[k], scale=columns.scale[k], dtype=dtype, max=f"{largest:.3g}"
            )
    return None

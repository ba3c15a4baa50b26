"""The dtype of a training run: one that can tell the values of every column apart."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from bp_arrays.command_line._dtype_limits import limits_of
from bp_arrays.command_line._standardizing import ColumnStatistics
from bp_arrays.devices import Device
from bp_arrays.errors import DataError, InputError
from bp_arrays.inputs import pieces
from bp_arrays.readers import Dataset
from bp_arrays.typing import HostArray

DEFAULT = "float32"

MAX_ROUNDING = 0.01
"""Rounding of a column by more than this fraction of its standard deviation is too much.

Or by 16 times the relative rounding of the dtype, if that is more, as in half precision.
"""

MAX_TARGET_ROUNDING = 0.001
"""The same for targets: nothing averages their rounding, which stays in every loss."""

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
    problem = _problem_of("feature", data.feature_names, data.x, features, dtype, MAX_ROUNDING)
    if problem is None and targets is not None and data.t is not None:
        problem = _problem_of(
            "target", data.target_names, data.t, targets, dtype, MAX_TARGET_ROUNDING
        )
    return problem


def _problem_of(
    kind: str,
    names: Sequence[str],
    values: HostArray,
    columns: ColumnStatistics,
    dtype: str,
    max_rounding: float,
) -> str | None:
    eps, dtype_min, dtype_max = limits_of(dtype)
    is_exact = dtype == "float64" or (
        dtype != "bfloat16" and np.can_cast(values.dtype, dtype, casting="safe")
    )
    extremes = [(np.abs(part.min(axis=0)), np.abs(part.max(axis=0))) for _, part in pieces(values)]
    column_max = np.max(extremes, axis=(0, 1))  # of all rows
    training_max, scale, varies = columns.largest, columns.scale, ~columns.constant
    tolerance = max(max_rounding, 16 * eps) * scale

    def name(k: int) -> str:
        return f"{kind} {names[k]!r}" if names else f"{kind} {k} (counted from 0)"

    # a difference of two values must be a number too, and the reciprocal of the scale
    if (k := _first(column_max > dtype_max / 2)) is not None:
        largest = f"the largest number in {dtype} is {dtype_max:.3g}"
        return f"{name(k)} reaches {column_max[k]:.3g}, and {largest}"
    if (k := _first(scale > 1.0 / dtype_min)) is not None:
        return f"{name(k)} varies by {scale[k]:.3g}, too much for {dtype}"
    if (k := _first(varies & (scale < 4.0 * dtype_min))) is not None:
        return f"{name(k)} varies by {scale[k]:.3g}, too little for {dtype}"
    if is_exact:
        return None
    if (k := _first(varies & (eps * training_max > tolerance))) is not None:
        near = f"has values near {training_max[k]:.6g} that vary by {scale[k]:.3g}"
        return f"{name(k)} {near}, which {dtype} cannot tell apart"
    return None


def _first(mask: HostArray) -> int | None:
    """Return the index of the first True, or None."""
    return int(np.argmax(mask)) if mask.any() else None

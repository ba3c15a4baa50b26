"""First values that were measured on data: the mean and the deviation of each feature."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.checks import array_error
from bp_arrays.devices import device_of_or_none
from bp_arrays.errors import InputError
from bp_arrays.initializers._initializer import Initializer
from bp_arrays.typing import Array, HostArray, Shape

PIECE = 2**20
"""Values measured at a time: data on disk, or on a device, is not copied whole."""

ROUNDING = 4.0 * float(np.finfo(np.float64).eps)
"""A feature whose values differ by no more than this, relative to the largest, is constant."""


@dataclass(frozen=True)
class Values(Initializer):
    """Numbers that are known, for a parameter with one number per feature.

    >>> Values((1.0, 2.0)).draw((2,), None).tolist()
    [1.0, 2.0]
    """

    values: tuple[float, ...]

    def draw(self, shape: Shape, rng: Any) -> Array:
        if shape != (len(self.values),):
            expected = f"{len(self.values)} features, as measured"
            raise array_error("Standardize", "input", expected, shape)
        return np.asarray(self.values, dtype=np.float64)


def mean_and_scale(where: str, x: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and the standard deviation of each feature, the last axis, in float64.

    The scale of a feature that is constant is 1. Two passes over the data, in pieces: the squares
    are those of the distances from the mean, in units of the range, which neither cancel nor
    overflow.

    Parameters
    ----------
    where : str
        The function named in errors.
    x : array (rows, ..., features), or (rows,) for one feature
        Host data, or an array on a device.

    Raises
    ------
    InputError
        If x has no rows, is not numbers, or has a value that is NaN or infinite.
    """
    x = _as_array(where, x)
    low, high = _range(where, x)
    constant = high - low <= ROUNDING * np.maximum(np.abs(low), np.abs(high))
    unit = np.where(constant, 1.0, high - low)
    count, total, rest, squares = 0, np.zeros_like(low), np.zeros_like(low), np.zeros_like(low)
    for part in _pieces(x):
        count += len(part)
        total += np.sum((part - low) / unit, axis=0)
    shift = total / count
    for part in _pieces(x):
        centered = (part - low) / unit - shift
        rest += np.sum(centered, axis=0)  # 0 up to the rounding of the first sums
        squares += np.sum(centered * centered, axis=0)
    mean = np.where(constant, low, low + unit * (shift + rest / count))
    scale = np.where(constant, 1.0, unit * np.sqrt(squares / count))
    return tuple(map(float, mean)), tuple(map(float, scale))


def _as_array(where: str, x: Any) -> Any:
    """Return x as an array with rows: NumPy's, or the one on its device."""
    if device_of_or_none(x) is None or isinstance(x, np.ndarray):
        try:
            x = np.asarray(x)
            x = x.astype(np.float64) if x.dtype == object else x
        except (ValueError, TypeError, OverflowError) as error:
            raise array_error(where, "x", "an array of numbers", f"{error!s:.100}") from None
        if x.dtype.kind not in "biuf":
            raise array_error(where, "x", "an array of real numbers", f"dtype {x.dtype}")
    if len(x.shape) < 1 or 0 in x.shape:
        raise array_error(where, "x", "an array (rows, ..., features) with rows", tuple(x.shape))
    return x


def _pieces(x: Any) -> Iterator[HostArray]:
    """Yield parts of x on the host, in float64, with one row for each position."""
    device, features = device_of_or_none(x), 1 if len(x.shape) == 1 else int(x.shape[-1])
    step = max(1, PIECE * x.shape[0] // max(1, int(np.prod(x.shape))))
    for start in range(0, x.shape[0], step):
        part = x[start : min(start + step, x.shape[0]), ...]
        host = part if device is None else device.to_numpy(part)
        yield np.asarray(host, dtype=np.float64).reshape(-1, features)


def _range(where: str, x: Any) -> tuple[HostArray, HostArray]:
    low: HostArray | None = None
    high: HostArray | None = None
    rows = 0
    for part in _pieces(x):
        bad = ~np.isfinite(part)
        if bad.any():
            row, feature = map(int, np.argwhere(bad)[0])
            raise InputError(
                f"{where}(x=), row {rows + row}, feature {feature}: expected a finite number, got "
                f"{part[row, feature]}; drop or fill such rows"
            )
        rows += len(part)
        ends = np.min(part, axis=0), np.max(part, axis=0)
        low = ends[0] if low is None else np.minimum(low, ends[0])
        high = ends[1] if high is None else np.maximum(high, ends[1])
    assert low is not None and high is not None
    return low, high

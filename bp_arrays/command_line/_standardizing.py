"""Mean and scale of columns, for the Standardize layers of a network and for its targets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bp_arrays.inputs import Rows, pieces
from bp_arrays.typing import HostArray

ROUNDING = 4.0 * np.finfo(np.float64).eps
"""A column whose values differ by no more than this, relative to the largest, is constant."""


@dataclass(frozen=True, eq=False)
class ColumnStatistics:
    """Statistics of the columns of an array (rows, columns); each is an array (columns,).

    Parameters
    ----------
    mean : array
    scale : array
        The standard deviation; 1 for a constant column.
    largest : array
        The largest absolute value.
    constant : bool array
    """

    mean: HostArray
    scale: HostArray
    largest: HostArray
    constant: HostArray

    @classmethod
    def of(cls, x: HostArray | Rows, *, one_unit: bool = False) -> ColumnStatistics:
        """Measure columns of any scale, in float64, in parts: x may be larger than memory.

        Columns of one unit, such as pixels, share one scale, the root of their mean variance: a
        pixel that is rarely lit must not be scaled up until it dominates the others.
        """
        low, high = np.full(x.shape[1:], np.inf), np.full(x.shape[1:], -np.inf)
        for _, part in pieces(x):
            low = np.minimum(low, np.min(part, axis=0))
            high = np.maximum(high, np.max(part, axis=0))
        largest = np.maximum(np.abs(low), np.abs(high))
        width = high - low
        constant = width <= ROUNDING * largest
        # squares of values between 0 and 1 neither overflow nor vanish, whatever the unit
        if one_unit:
            unit = np.full_like(width, 1.0 if constant.all() else np.max(width))
        else:
            unit = np.where(constant, 1.0, width)
        sums, rest, squares = np.zeros((3, *low.shape))
        for _, part in pieces(x):
            sums += np.sum((part - low) / unit, axis=0)
        shift = np.where(constant, 0.0, sums / len(x))
        for _, part in pieces(x):
            centered = (part - low) / unit - shift
            rest += np.sum(centered, axis=0)  # 0 up to the rounding of the first sums
            squares += np.sum(np.square(centered), axis=0)
        shift = np.where(constant, 0.0, shift + rest / len(x))
        variance = np.where(constant, 0.0, squares / len(x))
        if one_unit:
            variance = np.full_like(variance, variance.mean())
            constant = np.full_like(constant, constant.all())
        scale = np.where(constant, 1.0, unit * np.sqrt(variance))
        return cls(low + unit * shift, scale, largest, constant)

    def without(self, columns: HostArray) -> ColumnStatistics:
        """Return the statistics with mean 0 and scale 1 for some columns, bool (columns,)."""
        mean, scale = np.where(columns, 0.0, self.mean), np.where(columns, 1.0, self.scale)
        return replace(self, mean=mean, scale=scale)

    def parameters(self, name: str) -> dict[str, HostArray]:
        """Return the parameters of the Standardize layer of this name."""
        return {f"{name}.mean": self.mean, f"{name}.scale": self.scale}

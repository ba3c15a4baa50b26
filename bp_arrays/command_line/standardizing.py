"""Measuring the scale of data, for the Standardize layers of a network."""

from __future__ import annotations

import numpy as np

from bp_arrays.command_line.meaning import HostArray

ROWS = 8192
"""Rows looked at at once: bounds the memory for float64 copies."""


def input_scale(x: HostArray, *, one_unit: bool) -> dict[str, HostArray]:
    """Mean and deviation of each feature of x (rows, features).

    Features of one unit, such as pixels, share one deviation, the root of their mean variance:
    a pixel that is hardly ever lit must not be blown up until it drowns the others. A feature
    that never changes has the deviation 1.
    """
    mean = np.mean(x, axis=0, dtype=np.float64)
    squares = np.zeros_like(mean)
    for start in range(0, len(x), ROWS):
        squares += np.sum(np.square(x[start : start + ROWS] - mean), axis=0)
    variance = squares / len(x)
    if one_unit:
        variance = np.full_like(variance, variance.mean())
    deviation = np.sqrt(variance)
    constant = deviation <= 1e-12 * np.abs(mean)  # 0, but for rounding
    return {"mean": mean, "deviation": np.where(constant, 1.0, deviation)}


def output_scale(t: HostArray) -> dict[str, HostArray]:
    """What makes of Standardize its own inverse: (y − m) / d = y s + μ for m = −μ / s, d = 1 / s.

    So the layers before it work with numbers of size 1, while loss, history and predictions
    are in the units of the targets t (rows, outputs).
    """
    scale = input_scale(t, one_unit=False)
    mean, deviation = scale["mean"], scale["deviation"]
    return {"mean": -mean / deviation, "deviation": 1.0 / deviation}

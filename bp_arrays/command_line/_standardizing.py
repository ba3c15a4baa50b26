"""Mean and scale of data, for the Standardize layers of a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bp_arrays.inputs import Rows, SelectedRows, pieces
from bp_arrays.layers import Layer, Standardize
from bp_arrays.readers import Dataset
from bp_arrays.typing import HostArray


def measured_scales(
    layers: Sequence[Layer], data: Dataset, rows: HostArray
) -> dict[str, HostArray]:
    """Compute the parameters of the first and last layer, where they are Standardize.

    Parameters
    ----------
    layers : sequence of Layer
    data : Dataset
    rows : int array
        The training rows; no others are used.
    """
    scales = {}
    if isinstance(layers[0], Standardize):
        scales[0] = input_scale(SelectedRows(data.x, rows), one_unit=data.one_unit)
    if isinstance(layers[-1], Standardize) and data.t is not None:
        scales[len(layers) - 1] = output_scale(data.t[rows])
    return {f"{k}.{name}": value for k, scale in scales.items() for name, value in scale.items()}


def input_scale(x: HostArray | Rows, *, one_unit: bool) -> dict[str, HostArray]:
    """Compute the mean and the scale of each feature of x (rows, features).

    Features of one unit, such as pixels, share one scale, the root of their mean variance: a
    pixel that is rarely lit must not be scaled up until it dominates the others. A constant
    feature has the scale 1.
    """
    sums = np.zeros(x.shape[1:])
    for _, part in pieces(x):
        sums += np.sum(part, axis=0, dtype=np.float64)
    mean = sums / len(x)
    squares = np.zeros_like(mean)
    for _, part in pieces(x):
        squares += np.sum(np.square(part - mean), axis=0)
    variance = squares / len(x)
    if one_unit:
        variance = np.full_like(variance, variance.mean())
    scale = np.sqrt(variance)
    constant = scale <= 1e-12 * np.abs(mean)  # 0 up to rounding
    return {"mean": mean, "scale": np.where(constant, 1.0, scale)}


def output_scale(t: HostArray) -> dict[str, HostArray]:
    """Compute the parameters that turn Standardize into its inverse: y s + μ for targets t.

    (y − m) / d = y s + μ for m = −μ / s and d = 1 / s. The layers before it then work with
    numbers of size 1, while loss, history and predictions are in the units of t (rows, outputs).
    """
    measured = input_scale(t, one_unit=False)
    mean, scale = measured["mean"], measured["scale"]
    return {"mean": -mean / scale, "scale": 1.0 / scale}

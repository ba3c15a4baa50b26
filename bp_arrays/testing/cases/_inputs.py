"""Inputs of the cases: shapes, and numbers drawn on the host.

Every generator is keyed by name, so that a case has the same numbers on every machine and in
every version of NumPy with the same Philox stream.
"""

from __future__ import annotations

import numpy as np

from bp_arrays.random import host_generator
from bp_arrays.typing import HostArray

BATCH_SHAPES = {
    "ordinary": (5, 4),
    "batch of 1": (1, 4),
    "one feature": (6, 1),
    "odd sizes": (7, 13),
    "large reduction": (3000, 3),
}
"""(batch, features) of each variant that differs in size."""

EXTREMES = (1e4, -1e4, 300.0, -300.0, 40.0, -40.0, 1e-6, -1e-6, 1e-30, -1e-30, 0.5, -0.5)
"""Values at which a formula that is correct on paper overflows, cancels or underflows."""

KINK_DISTANCE = 1e-3


def normal(*path: str | int, shape: tuple[int, ...], scale: float = 1.0) -> HostArray:
    """Draw normal numbers keyed by the path, none closer to zero than 0.001.

    Then no device rounds an input to the other side of a kink.
    """
    values = host_generator(2026, "case", *path).normal(size=shape) * scale
    near = np.abs(values) < KINK_DISTANCE
    return np.where(near, np.copysign(KINK_DISTANCE, values), values)


def extremes(columns: int) -> HostArray:
    """Return every extreme value in each column, the columns rotated against each other."""
    values = np.array(EXTREMES)
    return np.stack([np.roll(values, k) for k in range(columns)], axis=1)


def batch(component: str, variant: str, name: str, columns: int | None = None) -> HostArray:
    """Return an input (batch, features) of a variant; `columns` sets the number of features.

    "non-contiguous" is every second column of a transposed array, "extreme values" the values
    of `EXTREMES`.
    """
    if variant == "extreme values":
        return extremes(columns or 3)
    if variant == "non-contiguous":
        rows, features = 5, columns or 4
        wide = normal(component, variant, name, shape=(2 * features, rows))
        return wide.T[:, ::2]
    rows, features = BATCH_SHAPES[variant]
    return normal(component, variant, name, shape=(rows, columns or features))

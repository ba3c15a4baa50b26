"""Constant initializers: zeros for biases, ones for scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.initializers._initializer import Initializer
from bp_arrays.typing import Array, Shape


@dataclass(frozen=True)
class Zeros(Initializer):
    """Zeros, for biases; a weight of zeros propagates no error back and learns nothing.

    >>> Zeros().draw((3,), None).tolist()
    [0.0, 0.0, 0.0]
    """

    def draw(self, shape: Shape, rng: Any) -> Array:
        return np.zeros(shape)


@dataclass(frozen=True)
class Ones(Initializer):
    """Ones, for scales.

    >>> Ones().draw((3,), None).tolist()
    [1.0, 1.0, 1.0]
    """

    def draw(self, shape: Shape, rng: Any) -> Array:
        return np.ones(shape)

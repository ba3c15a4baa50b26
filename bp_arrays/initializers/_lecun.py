"""LeCun initialization: unit variance of the input of every unit, which SELU assumes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bp_arrays.initializers._initializer import Initializer, fans
from bp_arrays.typing import Array, Shape


@dataclass(frozen=True)
class LeCunUniform(Initializer):
    """Uniform in [-l, l), l = √(3 / fan_in), so that Var w = 1 / fan_in.

    Notes
    -----
    LeCun, Bottou, Orr, Müller, "Efficient BackProp", 1998, equation 16.

    Examples
    --------
    >>> from bp_arrays.random import host_generator
    >>> LeCunUniform().draw((784, 30), host_generator(0)).shape
    (784, 30)
    """

    def draw(self, shape: Shape, rng: Any) -> Array:
        fan_in, _ = fans(shape)
        limit = math.sqrt(3.0 / fan_in)
        return rng.uniform(-limit, limit, shape)


@dataclass(frozen=True)
class LeCunNormal(Initializer):
    """Normal with mean 0 and Var w = 1 / fan_in.

    Notes
    -----
    LeCun, Bottou, Orr, Müller, "Efficient BackProp", 1998, equation 16.

    Examples
    --------
    >>> from bp_arrays.random import host_generator
    >>> LeCunNormal().draw((784, 30), host_generator(0)).shape
    (784, 30)
    """

    def draw(self, shape: Shape, rng: Any) -> Array:
        fan_in, _ = fans(shape)
        return rng.normal(0.0, math.sqrt(1.0 / fan_in), shape)

"""He initialization: preserves the variance of signals through layers of rectifiers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bp_arrays.initializers._initializer import Initializer, fans
from bp_arrays.typing import Array, Shape


@dataclass(frozen=True)
class HeUniform(Initializer):
    """Uniform in [-l, l), l = √(6 / fan_in), so that Var w = 2 / fan_in.

    The factor 2 compensates for the half of the signal that a rectifier sets to zero.

    Notes
    -----
    He, Zhang, Ren, Sun, "Delving deep into rectifiers", ICCV 2015, equation 10.

    Examples
    --------
    >>> from bp_arrays.random import host_generator
    >>> HeUniform().draw((784, 30), host_generator(0)).shape
    (784, 30)
    """

    def draw(self, shape: Shape, rng: Any) -> Array:
        fan_in, _ = fans(shape)
        limit = math.sqrt(6.0 / fan_in)
        return rng.uniform(-limit, limit, shape)


@dataclass(frozen=True)
class HeNormal(Initializer):
    """Normal with mean 0 and Var w = 2 / fan_in.

    The factor 2 compensates for the half of the signal that a rectifier sets to zero.

    Notes
    -----
    He, Zhang, Ren, Sun, "Delving deep into rectifiers", ICCV 2015, equation 10.

    Examples
    --------
    >>> from bp_arrays.random import host_generator
    >>> HeNormal().draw((784, 30), host_generator(0)).shape
    (784, 30)
    """

    def draw(self, shape: Shape, rng: Any) -> Array:
        fan_in, _ = fans(shape)
        return rng.normal(0.0, math.sqrt(2.0 / fan_in), shape)

"""Glorot initialization: preserves the variance of signals and errors through sigmoid layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bp_arrays.initializers._initializer import Initializer, fans
from bp_arrays.typing import Array, Shape


@dataclass(frozen=True)
class GlorotUniform(Initializer):
    """Uniform in [-l, l), l = √(6 / (fan_in + fan_out)), so that Var w = 2 / (fan_in + fan_out).

    The compromise between Var w = 1 / fan_in, which preserves the variance of the signals in the
    forward pass, and 1 / fan_out, which preserves that of the errors in the backward pass.

    Notes
    -----
    Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010, equation 16.

    Examples
    --------
    >>> from bp_arrays.random import host_generator
    >>> GlorotUniform().draw((784, 30), host_generator(0)).shape
    (784, 30)
    """

    def draw(self, shape: Shape, rng: Any) -> Array:
        fan_in, fan_out = fans(shape)
        limit = math.sqrt(6.0 / (fan_in + fan_out))
        return rng.uniform(-limit, limit, shape)


@dataclass(frozen=True)
class GlorotNormal(Initializer):
    """Normal with mean 0 and Var w = 2 / (fan_in + fan_out).

    Notes
    -----
    Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010, equation 12.

    Examples
    --------
    >>> from bp_arrays.random import host_generator
    >>> GlorotNormal().draw((784, 30), host_generator(0)).shape
    (784, 30)
    """

    def draw(self, shape: Shape, rng: Any) -> Array:
        fan_in, fan_out = fans(shape)
        return rng.normal(0.0, math.sqrt(2.0 / (fan_in + fan_out)), shape)

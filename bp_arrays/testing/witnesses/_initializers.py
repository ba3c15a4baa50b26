"""Initializers: NumPy's numbers, uniform in [0, 1) or standard normal, scaled as the papers say."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bp_arrays.random import host_generator
from bp_arrays.testing.witnesses._witness import HostArrays, Witness

VARIANCES: dict[str, Callable[[int, int], float]] = {
    "Glorot": lambda n_in, n_out: 2.0 / (n_in + n_out),
    "He": lambda n_in, n_out: 2.0 / n_in,
    "LeCun": lambda n_in, n_out: 1.0 / n_in,
}
"""The variance of a weight with n_in connections in and n_out out."""


def drawn_by_numpy(name: str, shape: tuple[int, ...], path: tuple[str, ...]) -> Witness:
    """Return the witness of the values that an initializer draws from the generator of a path."""
    kind, _, setting = name.partition(", ")
    if kind == "Orthogonal":
        gain = 2.0 if setting else 1.0
        return Witness("wᵀw = gain² 1", lambda inputs, results: _orthogonal(results, shape, gain))
    return Witness("numpy.random, scaled", lambda inputs, results: _scaled(kind, shape, path))


def _scaled(name: str, shape: tuple[int, ...], path: tuple[str, ...]) -> HostArrays:
    if name == "Stacked":  # of GlorotUniform, with the variance of one of the weights
        std = math.sqrt(VARIANCES["Glorot"](*shape[1:]))
        numbers = host_generator(0, *path).random(shape)
        return {"values": math.sqrt(3.0) * std * (2.0 * numbers - 1.0)}
    if name in ("Zeros", "Ones"):
        return {"values": np.full(shape, float(name == "Ones"))}
    generator = host_generator(0, *path)
    if name == "Normal":
        return {"values": generator.standard_normal(shape)}
    std = math.sqrt(VARIANCES[name.removesuffix("Uniform").removesuffix("Normal")](*shape))
    if name.endswith("Normal"):
        return {"values": std * generator.standard_normal(shape)}
    # a uniform number in [−l, l) has the variance l²/3
    return {"values": math.sqrt(3.0) * std * (2.0 * generator.random(shape) - 1.0)}


def _orthogonal(results: HostArrays, shape: tuple[int, ...], gain: float) -> HostArrays:
    """Return the nearest matrix with columns, or rows, that are orthogonal and of length gain."""
    u, _, v = np.linalg.svd(np.reshape(results["values"], shape), full_matrices=False)
    return {"values": gain * (u @ v)}

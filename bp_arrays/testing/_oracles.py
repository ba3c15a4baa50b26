"""Derivatives found without any backward of ours.

Four ways, each used where it can be:

- complex step: Im f(x + ih) / h in float64 with h = 1e-20. No subtraction, so exact to rounding;
  needs a forward that is analytic as written. Squire and Trapp, SIAM Review 40, 1998.
- central differences in float64: (f(x + h) − f(x − h)) / 2h, good to about 1e-10.
- jax.grad through the same forward, run on JAX arrays.
- torch.autograd through the same forward, run on PyTorch tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.devices import device
from bp_arrays.random import host_generator
from bp_arrays.testing._case import Case, Derivatives
from bp_arrays.testing._placement import HostArrays, Place

COMPLEX_STEP = 1e-20
CENTRAL_STEP = float(np.finfo(np.float64).eps) ** (1 / 3)
MOST_COORDINATES = 500
"""How many derivatives by one array are found one by one, each at the price of a forward; of a
larger array these many are drawn."""


@dataclass(frozen=True)
class Oracle:
    """A way to find derivatives.

    Parameters
    ----------
    name : str
        As the report names it.
    tolerance : float
        How far a right derivative may be from the oracle's, relative to its maximum.
    derive : function of (case, host inputs) to derivatives by result name
        A masked array where an array is too large to ask for every coordinate.
    """

    name: str
    tolerance: float
    derive: Callable[[Case, HostArrays], HostArrays]


def oracles_for(case: Case) -> Iterator[Oracle]:
    """The oracles that can judge a case on this machine."""
    if case.derivatives is None:
        return
    if case.derivatives.analytic:
        yield Oracle("complex step", 1e-14, _complex_step)
    else:
        yield Oracle("central differences", 1e-7, _central_differences)
    if device("jax:cpu").availability().usable and _has_float64("jax:cpu"):
        yield Oracle("jax.grad", 1e-13, _jax_grad)
    if device("torch:cpu").availability().usable:
        yield Oracle("torch.autograd", 1e-13, _torch_autograd)


def _complex_step(case: Case, inputs: HostArrays) -> HostArrays:
    d = _derivatives(case)
    place = Place(device("cpu"), "float64")

    def slope(name: str, i: tuple[int, ...]) -> float:
        moved = inputs[name].astype(np.complex128)
        moved[i] += 1j * COMPLEX_STEP
        return float(np.imag(d.objective(place, {**inputs, name: moved})) / COMPLEX_STEP)

    return _by_coordinates(d, inputs, slope)


def _central_differences(case: Case, inputs: HostArrays) -> HostArrays:
    d = _derivatives(case)
    place = Place(device("cpu"), "float64")

    def slope(name: str, i: tuple[int, ...]) -> float:
        h = CENTRAL_STEP * max(1.0, abs(float(inputs[name][i])))
        above, below = inputs[name].copy(), inputs[name].copy()
        above[i] += h
        below[i] -= h
        rise = d.objective(place, {**inputs, name: above}) - d.objective(
            place, {**inputs, name: below}
        )
        return float(rise) / float(above[i] - below[i])

    return _by_coordinates(d, inputs, slope)


def _jax_grad(case: Case, inputs: HostArrays) -> HostArrays:
    import jax

    d = _derivatives(case)
    place = Place(device("jax:cpu"), "float64", traced=True)
    arrays = Place(device("jax:cpu"), "float64").arrays(inputs)
    names = list(d.of.values())

    def objective(*chosen: Any) -> Any:
        return d.objective(place, {**arrays, **dict(zip(names, chosen, strict=True))})

    gradients = jax.jit(
        jax.grad(objective, argnums=tuple(range(len(names)))),
        compiler_options={"xla_backend_optimization_level": 0},  # it runs once
    )(*(arrays[name] for name in names))
    return {result: np.asarray(g) for result, g in zip(d.of, gradients, strict=True)}


def _torch_autograd(case: Case, inputs: HostArrays) -> HostArrays:
    import torch

    d = _derivatives(case)
    place = Place(device("torch:cpu"), "float64")
    arrays = place.arrays(inputs)
    chosen = [arrays[name].requires_grad_() for name in d.of.values()]
    gradients = torch.autograd.grad(d.objective(place, arrays), chosen, allow_unused=True)
    return {
        result: np.zeros(tuple(x.shape)) if g is None else g.numpy()
        for result, g, x in zip(d.of, gradients, chosen, strict=True)
    }


def _by_coordinates(
    d: Derivatives, inputs: HostArrays, slope: Callable[[str, tuple[int, ...]], float]
) -> HostArrays:
    """The slope along each coordinate, masked at those that were not drawn."""
    found: HostArrays = {}
    for result, name in d.of.items():
        shape = inputs[name].shape
        gradient = np.ma.array(np.zeros(shape), mask=True)
        places = np.arange(gradient.size)
        if places.size > MOST_COORDINATES:
            generator = host_generator(2026, "coordinates", result)
            places = generator.choice(places, MOST_COORDINATES, replace=False)
        for i in zip(*np.unravel_index(places, shape), strict=True):
            gradient[i] = slope(name, i)
        found[result] = gradient
    return found


def _derivatives(case: Case) -> Derivatives:
    assert case.derivatives is not None
    return case.derivatives


def _has_float64(name: str) -> bool:
    try:
        device(name).dtype("float64")
    except ValueError:
        return False
    return True

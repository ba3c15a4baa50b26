"""Oracles: derivatives computed without the library's backward.

Four methods, each used where it applies:

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
from bp_arrays.execution import compiled
from bp_arrays.random import host_generator
from bp_arrays.testing._case import Case, Derivatives
from bp_arrays.testing._placement import HostArrays, Placement

COMPLEX_STEP = 1e-20
CENTRAL_STEP = float(np.finfo(np.float64).eps) ** (1 / 3)
MOST_COORDINATES = 500
"""Coordinates of one array at which a derivative is computed, each for the price of a forward; of
a larger array this many are drawn."""


@dataclass(frozen=True)
class Oracle:
    """An independent method to compute derivatives.

    Parameters
    ----------
    name : str
        The name in the report.
    tolerance : float
        Largest difference of a correct derivative from the oracle's, relative to its maximum.
    derive : function of (case, host inputs) to derivatives by result name
        Returns masked arrays where an array is too large to differentiate by every element.
    """

    name: str
    tolerance: float
    derive: Callable[[Case, HostArrays], HostArrays]


def oracles_for(case: Case) -> Iterator[Oracle]:
    """Yield the oracles that apply to a case on this machine."""
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
    placement = Placement(device("cpu"), "float64")

    def slope(name: str, i: tuple[int, ...]) -> float:
        moved = np.array(inputs[name], dtype=np.complex128)
        moved[i] += 1j * COMPLEX_STEP
        return float(np.imag(d.objective(placement, {**inputs, name: moved})) / COMPLEX_STEP)

    return _by_coordinates(d, inputs, slope)


def _central_differences(case: Case, inputs: HostArrays) -> HostArrays:
    d = _derivatives(case)
    placement = Placement(device("cpu"), "float64")

    def slope(name: str, i: tuple[int, ...]) -> float:
        h = CENTRAL_STEP * max(1.0, abs(float(inputs[name][i])))
        above, below = np.array(inputs[name]), np.array(inputs[name])
        above[i] += h
        below[i] -= h
        rise = d.objective(placement, {**inputs, name: above}) - d.objective(
            placement, {**inputs, name: below}
        )
        return float(rise) / float(above[i] - below[i])

    return _by_coordinates(d, inputs, slope)


def _jax_grad(case: Case, inputs: HostArrays) -> HostArrays:
    import jax

    d = _derivatives(case)
    placement = Placement(device("jax:cpu"), "float64", traced=True)
    arrays = Placement(device("jax:cpu"), "float64").arrays(inputs)
    names = list(d.of.values())

    def objective(*chosen: Any) -> Any:
        return d.objective(placement, {**arrays, **dict(zip(names, chosen, strict=True))})

    gradient = jax.grad(objective, argnums=tuple(range(len(names))))
    gradients = compiled(gradient, placement.device, quickly=True)(
        *(arrays[name] for name in names)
    )
    return {result: np.asarray(g) for result, g in zip(d.of, gradients, strict=True)}


def _torch_autograd(case: Case, inputs: HostArrays) -> HostArrays:
    import torch

    d = _derivatives(case)
    placement = Placement(device("torch:cpu"), "float64")
    arrays = placement.arrays(inputs)
    chosen = [arrays[name].requires_grad_() for name in d.of.values()]
    gradients = torch.autograd.grad(d.objective(placement, arrays), chosen, allow_unused=True)
    return {
        result: np.zeros(tuple(x.shape)) if g is None else g.numpy()
        for result, g, x in zip(d.of, gradients, chosen, strict=True)
    }


def _by_coordinates(
    d: Derivatives, inputs: HostArrays, slope: Callable[[str, tuple[int, ...]], float]
) -> HostArrays:
    """Compute the slope along each coordinate, masked at those that were not drawn."""
    gradients: HostArrays = {}
    for result, name in d.of.items():
        shape = inputs[name].shape
        gradient = np.ma.array(np.zeros(shape), mask=True)
        coordinates = np.arange(gradient.size)
        if coordinates.size > MOST_COORDINATES:
            generator = host_generator(2026, "coordinates", result)
            coordinates = generator.choice(coordinates, MOST_COORDINATES, replace=False)
        places = zip(*np.unravel_index(coordinates, shape), strict=True) if shape else [()]
        for i in places:
            gradient[i] = slope(name, i)
        gradients[result] = gradient
    return gradients


def _derivatives(case: Case) -> Derivatives:
    assert case.derivatives is not None
    return case.derivatives


def _has_float64(name: str) -> bool:
    try:
        device(name).dtype("float64")
    except ValueError:
        return False
    return True

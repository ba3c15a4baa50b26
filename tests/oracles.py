"""Independent derivatives to hold a backward against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import bp_arrays as bp

STEP = np.finfo(np.float64).eps ** (1 / 3)


def central_difference(
    f: Callable[[np.ndarray], float], x: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """∂f/∂x by (f(x + h) − f(x − h)) / 2h for every coordinate, in float64."""
    x = np.array(x, dtype=np.float64)
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        h = STEP * max(1.0, abs(x[i]))
        above, below = x.copy(), x.copy()
        above[i] += h
        below[i] -= h
        gradient[i] = (f(above) - f(below)) / (2 * h)
    return gradient


def check_layer_backward(layer: bp.Layer, input_shape: tuple[int, ...], batch: int = 3) -> None:
    """Compare every derivative of a layer with central differences, along a random direction."""
    rng = np.random.default_rng(7)
    model = bp.Model(layer, input_shape=input_shape, device="cpu", dtype="float64", seed=1)
    x = rng.normal(size=(batch, *input_shape))
    direction = rng.normal(size=(batch, *model.output_shape))

    _, backward = model.forward(x)
    dx, gradients = backward(direction)

    def projected(values: np.ndarray) -> float:
        return float(np.sum(model.forward(values)[0] * direction))

    np.testing.assert_allclose(dx, central_difference(projected, x), rtol=1e-7, atol=1e-8)
    for name, value in model.host_parameters().items():
        if name not in gradients:
            continue

        def with_parameter(p: np.ndarray, name: str = name) -> float:
            model.set_parameters({name: p})
            return projected(x)

        expected = central_difference(with_parameter, value)
        model.set_parameters({name: value})
        np.testing.assert_allclose(gradients[name], expected, rtol=1e-7, atol=1e-8)

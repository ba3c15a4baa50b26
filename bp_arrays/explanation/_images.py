"""Images of the page: the sample, the derivative by its pixels, and the weights of each unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bp_arrays.checks import array_error
from bp_arrays.explanation._derivation import Derivation
from bp_arrays.explanation._stages import LinearStage, PassingStage, ScaledStage, Vector

MOST_PIXELS = 1024
"""Pixels up to which weights are drawn as images: each is a square on the page."""

CHANNELS = (1, 3)
"""Gray, and red, green and blue."""


def image_shape_of(shape: Any, input_shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Return (height, width, channels) of a sample that is an image; None if it is not.

    Parameters
    ----------
    shape : sequence of int or None
        The shape as passed; None to decide by the shape of the input.
    input_shape : tuple of int

    Raises
    ------
    InputError
        If `shape` does not fit the input.
    """
    size = math.prod(input_shape)
    if shape is None:
        if len(input_shape) != 3 or input_shape[2] not in CHANNELS or 1 in input_shape[:2]:
            return None
        return input_shape[0], input_shape[1], input_shape[2]
    numbers = tuple(shape) if isinstance(shape, Sequence) else ()
    is_shape = len(numbers) in (2, 3) and all(isinstance(n, int) and n > 0 for n in numbers)
    full = numbers if len(numbers) == 3 else (*numbers, 1)
    if not is_shape or math.prod(full) != size or full[2] not in CHANNELS:
        expected = f"(height, width) or (height, width, 1 or 3) of the {size} numbers of x"
        raise array_error("explain", "image_shape", expected, repr(shape))
    return full[0], full[1], full[2]


def images_of(explanation: Derivation) -> dict[str, Any] | None:
    """Return the images of an explanation as JSON values; None if the sample is no image."""
    shape = explanation.image_shape
    if shape is None:
        return None
    x = np.ravel(explanation.x)
    images: dict[str, Any] = {"shape": list(shape), "x": _rounded(x), "signed": []}
    if shape[2] > 1 or x.size > MOST_PIXELS:
        return images
    signed = [("∂L/∂x", "", _input_gradient(explanation))]
    linear = _first_linear(explanation)
    if linear is not None:
        gradient = explanation.gradients[linear.parameter("weight")]
        strongest = np.argsort(-np.abs(gradient).sum(axis=0), kind="stable")[:SHOWN_UNITS]
        for k in sorted(int(k) for k in strongest):
            name = linear.y_name.text()
            signed.append((f"weights into {name}", str(k + 1), linear.weight[:, k]))
    images["signed"] = [
        {"name": name, "unit": unit, "values": _rounded(values)} for name, unit, values in signed
    ]
    return images


SHOWN_UNITS = 12
"""Units whose weights are drawn: those with the largest gradients."""


def _input_gradient(explanation: Derivation) -> Vector:
    """Return ∂L/∂x of every pixel."""
    if not explanation.stages:
        return np.zeros(explanation.x.size)
    return np.ravel(explanation.stages[0].back(explanation.deltas[0]))


def _first_linear(explanation: Derivation) -> LinearStage | None:
    """Return the Linear layer whose inputs are the pixels, scaled at most; None without one."""
    for stage in explanation.stages:
        if isinstance(stage, LinearStage):
            return stage
        if not isinstance(stage, (PassingStage, ScaledStage)):
            return None
    return None


def _rounded(values: Vector) -> list[float]:
    return [float(f"{value:.3g}") for value in values]

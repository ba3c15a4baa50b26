"""`Initializer`: the contract of an initializer; `fans`: the connections of a unit."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from bp_arrays.checks import argument_error
from bp_arrays.typing import Array, Shape


@dataclass(frozen=True)
class Initializer(ABC):
    """Base class of initializers: descriptions of a parameter's first values, without arrays.

    The values are drawn on the host in float64, whatever the device and dtype of the model, then
    rounded and moved, so that they are the same everywhere.
    """

    @abstractmethod
    def draw(self, shape: Shape, rng: Any) -> Array:
        """Draw the first values of a parameter.

        Parameters
        ----------
        shape : tuple of int
            Shape of the parameter; a weight is (fan_in, fan_out).
        rng : numpy.random.Generator
            The source of random numbers.

        Returns
        -------
        float64 host array of `shape`.

        Raises
        ------
        InputError
            If the initializer cannot fill this shape.
        """


def fans(shape: Shape) -> tuple[int, int]:
    """Return the numbers of connections into and out of a unit, (fan_in, fan_out).

    A weight has the shape (in, out). With more dimensions, the last two are the channels (in, out)
    and those before them are the receptive field, each position of which is a connection:
    (height, width, in, out) has fan_in = height * width * in and fan_out = height * width * out.
    For several weights in one array, (members, in, out), use `Stacked`.

    Raises
    ------
    InputError
        If the shape has fewer than two dimensions, or one of them is empty.

    Examples
    --------
    >>> fans((784, 30)), fans((3, 3, 16, 32))
    ((784, 30), (144, 288))
    """
    if len(shape) < 2:
        raise argument_error(
            "draw", "shape", shape, "a weight (in, out) or (..., in, out)", "use Zeros() for a bias"
        )
    if min(shape) < 1:
        raise argument_error("draw", "shape", shape, "a weight that is not empty")
    receptive_field = math.prod(shape[:-2])
    return receptive_field * shape[-2], receptive_field * shape[-1]

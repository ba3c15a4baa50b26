"""What an initializer is, and how it counts the connections of a unit."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from bp_arrays.errors import InputError
from bp_arrays.typing import Array, Shape


@dataclass(frozen=True)
class Initializer(ABC):
    """A description of a parameter's first values; holds no arrays.

    The values are drawn on the host in float64, whatever the device and dtype of the model, and
    then rounded and moved: so they are the same everywhere.
    """

    @abstractmethod
    def draw(self, shape: Shape, rng: Any) -> Array:
        """The first values of a parameter.

        Parameters
        ----------
        shape : tuple of int
            Shape of the parameter; a weight is (fan_in, fan_out).
        rng : numpy.random.Generator
            What the values are drawn from.

        Returns
        -------
        float64 host array of `shape`.

        Raises
        ------
        InputError
            If the initializer cannot fill this shape.
        """


def fans(shape: Shape) -> tuple[int, int]:
    """How many connections lead into a unit and how many leave one: (fan_in, fan_out).

    A weight has the shape (in, out). With more dimensions, the last two are the channels (in, out)
    and those before them are the receptive field, whose every position is a connection:
    (height, width, in, out) has fan_in = height * width * in and fan_out = height * width * out.

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
        raise InputError(
            f"this initializer needs a weight of shape (in, out), got {shape}: "
            "a bias starts at Zeros"
        )
    if min(shape) < 1:
        raise InputError(f"a weight of shape {shape} has no elements to initialise")
    receptive_field = math.prod(shape[:-2])
    return receptive_field * shape[-2], receptive_field * shape[-1]

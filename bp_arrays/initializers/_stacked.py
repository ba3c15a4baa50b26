"""`Stacked`: several parameters of one kind in one array, each drawn on its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.checks import argument_error, check_kind
from bp_arrays.initializers._initializer import Initializer
from bp_arrays.typing import Array, Shape


@dataclass(frozen=True)
class Stacked(Initializer):
    """The same initializer for each array along the first axis, one draw after the other.

    A weight (members, in, out) is that many weights (in, out), each with the fans of its own.
    Without it, `GlorotUniform` and the others take every axis before the last two for the receptive
    field of a convolution, so that (10, in, out) has ten times the fans and a third of the spread.

    Parameters
    ----------
    initializer : Initializer
        Draws one array, of the shape without the first axis.

    Raises
    ------
    InputError
        If it is no initializer; in `draw`, for a shape without axes.

    Examples
    --------
    >>> from bp_arrays.random import host_generator
    >>> from bp_arrays.initializers import GlorotUniform
    >>> w = Stacked(GlorotUniform()).draw((10, 64, 64), host_generator(0))
    >>> bool(abs(w).max() > 0.21), bool(abs(w).max() <= (6 / 128) ** 0.5)
    (True, True)
    """

    initializer: Initializer

    def __post_init__(self) -> None:
        check_kind(self, "initializer", Initializer, "an initializer such as HeNormal()")

    def draw(self, shape: Shape, rng: Any) -> Array:
        if not shape:
            raise argument_error("draw", "shape", shape, "several arrays (members, ...)")
        drawn = [np.asarray(self.initializer.draw(shape[1:], rng)) for _ in range(shape[0])]
        return np.stack(drawn)

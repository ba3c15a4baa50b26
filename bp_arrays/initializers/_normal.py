"""`Normal`: normal numbers of one spread, whatever the shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bp_arrays.checks import check_number
from bp_arrays.initializers._initializer import Initializer
from bp_arrays.typing import Array, Shape


@dataclass(frozen=True)
class Normal(Initializer):
    """Normal with mean 0 and the standard deviation `std`, for any shape.

    For the tables of `Embedding` and `LearnedPositions`, whose rows are taken and not summed, so
    that the number of rows says nothing about the size of the output; GPT-2 draws all its weights
    with std = 0.02.

    Parameters
    ----------
    std : float, default 1.0
        The standard deviation, > 0.

    Raises
    ------
    InputError
        If `std` is not a finite number > 0.

    Examples
    --------
    >>> from bp_arrays.random import host_generator
    >>> bool(abs(Normal(0.02).draw((1000,), host_generator(0))).max() < 0.1)
    True
    """

    std: float = 1.0

    def __post_init__(self) -> None:
        check_number(self, "std", above=0.0)

    def draw(self, shape: Shape, rng: Any) -> Array:
        return rng.normal(0.0, self.std, shape)

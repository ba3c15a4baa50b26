"""Orthogonal initialisation: a layer that turns its input without stretching any direction."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any

from bp_arrays.errors import InputError
from bp_arrays.initializers._initializer import Initializer, fans
from bp_arrays.random import orthonormal_columns
from bp_arrays.typing import Array, Shape


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """gain times a random matrix with orthonormal columns (tall, square) or rows (wide).

    wᵀw = gain² 1 for in >= out, and w wᵀ = gain² 1 for in <= out; uniform over all such matrices.
    The factorisation is LAPACK's, whose last bits may differ from one machine to another.

    Parameters
    ----------
    gain : float, default 1.0
        The length of every column (row). √2 suits rectifiers.

    Raises
    ------
    InputError
        If the gain is not finite and positive, or the shape drawn has not two dimensions.

    Notes
    -----
    Saxe, McClelland, Ganguli, "Exact solutions to the nonlinear dynamics of learning in
    deep linear neural networks", ICLR 2014.

    Examples
    --------
    >>> from bp_arrays.random import host_generator
    >>> w = Orthogonal().draw((5, 3), host_generator(0))
    >>> abs(w.T @ w).round(12).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        if not (isinstance(self.gain, numbers.Real) and 0.0 < self.gain < math.inf):
            raise InputError(f"Orthogonal: gain must be finite and > 0, got {self.gain!r}")
        object.__setattr__(self, "gain", float(self.gain))

    def draw(self, shape: Shape, rng: Any) -> Array:
        if len(shape) != 2:
            raise InputError(f"Orthogonal fills a weight of shape (in, out), got {shape}")
        rows, columns = fans(shape)
        if rows >= columns:
            return self.gain * orthonormal_columns(rows, columns, rng)
        return self.gain * orthonormal_columns(columns, rows, rng).T

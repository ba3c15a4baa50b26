"""Orthogonal initialization: a weight that rotates its input without stretching it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.checks import argument_error, check_number
from bp_arrays.initializers._initializer import Initializer, fans
from bp_arrays.typing import Array, Shape


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """A random matrix with orthonormal columns (tall, square) or rows (wide), times `gain`.

    wᵀw = gain² 1 for in >= out, and w wᵀ = gain² 1 for in <= out; uniform over all such matrices.
    The factorization is LAPACK's, whose last bits may differ from one machine to another.

    Parameters
    ----------
    gain : float, default 1.0
        The norm of every column (or row). √2 suits rectifiers.

    Raises
    ------
    InputError
        If the gain is not finite and positive; in `draw`, if the shape is not two-dimensional.

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
        check_number(self, "gain", above=0.0)

    def draw(self, shape: Shape, rng: Any) -> Array:
        if len(shape) != 2:
            raise argument_error("Orthogonal.draw", "shape", shape, "a weight (in, out)")
        rows, columns = fans(shape)
        if rows >= columns:
            return self.gain * orthonormal_columns(rows, columns, rng)
        return self.gain * orthonormal_columns(columns, rows, rng).T


def orthonormal_columns(rows: int, columns: int, rng: np.random.Generator) -> Array:
    """Draw a random matrix with orthonormal columns: qᵀq = 1, for rows >= columns.

    A Gaussian matrix is factored, z = q r. The sign of each column of q depends on the library;
    with signs such that r has a positive diagonal, the factorization is unique, and q is uniform
    over all such matrices (Haar measure).

    Parameters
    ----------
    rows, columns : int
        The shape, rows >= columns >= 1.
    rng : numpy.random.Generator
        The source of the Gaussian matrix.

    Returns
    -------
    float64 host array (rows, columns)

    Notes
    -----
    Mezzadri, "How to generate random matrices from the classical compact groups",
    Notices of the AMS 54 (2007).
    """
    q, r = np.linalg.qr(rng.standard_normal((rows, columns)))
    return q * np.copysign(1.0, np.diagonal(r))

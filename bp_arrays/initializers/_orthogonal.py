"""Orthogonal initialisation: a layer that turns its input without stretching any direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.checks import check_number
from bp_arrays.errors import InputError
from bp_arrays.initializers._initializer import Initializer, fans
from bp_arrays.typing import Array, Shape


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """gain times a random matrix with orthonormal columns (tall, square) or rows (wide).

    wᵀw = gain² 1 for in >= out, and w wᵀ = gain² 1 for in <= out; uniform over all such matrices.
    The factorization is LAPACK's, whose last bits may differ from one machine to another.

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
        check_number(self, "gain", above=0.0)

    def draw(self, shape: Shape, rng: Any) -> Array:
        if len(shape) != 2:
            raise InputError(f"Orthogonal fills a weight of shape (in, out), got {shape}")
        rows, columns = fans(shape)
        if rows >= columns:
            return self.gain * orthonormal_columns(rows, columns, rng)
        return self.gain * orthonormal_columns(columns, rows, rng).T


def orthonormal_columns(rows: int, columns: int, rng: np.random.Generator) -> Array:
    """A random matrix whose columns are orthonormal: qᵀq = 1, for rows >= columns.

    A Gaussian matrix is factored, z = q r. The factorization leaves the sign of every column of q
    to the library; turned so that r has a positive diagonal, it is unique, and q is uniform over
    all such matrices (Haar measure).

    Parameters
    ----------
    rows, columns : int
        The shape, rows >= columns >= 1.
    rng : numpy.random.Generator
        Draws the Gaussian matrix.

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

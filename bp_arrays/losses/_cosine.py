"""`CosineSimilarity`: the angle between outputs and targets; and vectors of length 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bp_arrays.checks import array_error
from bp_arrays.layers import Context
from bp_arrays.losses._loss import Loss, PerSample
from bp_arrays.typing import Array, Namespace, Shape


@dataclass(frozen=True, kw_only=True)
class CosineSimilarity(Loss):
    """1 − cos(y, t) of the vectors of outputs and of targets: from 0, same direction, to 2.

    With the unit vectors ŷ = y/|y| and t̂ = t/|t|, ℓ = 1 − ŷ·t̂ and ∂ℓ/∂y = −(t̂ − (ŷ·t̂) ŷ)/|y|.

    Parameters
    ----------
    reduction : "mean" or "sum", default "mean"

    Notes
    -----
    Vectors are the last axis of y and t (batch, ..., features); every position counts like a
    sample, with the weight of its sample; weights of the shape (batch, ...) weigh each position. A
    vector of zeros has no direction: its unit vector is taken as 0, so that the loss is 1 and the
    gradient 0. The same holds for a vector whose length is below the smallest normal number of the
    dtype. PyTorch's `CosineEmbeddingLoss` with targets 1 is the same for other vectors; Keras's
    `CosineSimilarity` is −cos(y, t).

    Examples
    --------
    >>> import numpy as np
    >>> from bp_arrays.layers import Context
    >>> y, t = np.array([[3.0, 4.0]]), np.array([[8.0, 6.0]])
    >>> value, backward = CosineSimilarity().forward(y, t, Context(np))
    >>> round(float(value), 4), backward().round(4).tolist()
    (0.04, [[-0.0448, 0.0336]])
    """

    def per_sample(self, y: Array, t: Array, ctx: Context) -> PerSample:
        xp = ctx.xp
        unit_y, of_length = unit_vectors(y, xp)
        unit_t, _ = unit_vectors(t, xp)
        cos = xp.sum(unit_y * unit_t, axis=-1)
        return 1.0 - cos, lambda c: of_length(-c * unit_t)

    def positions(self, y: Shape) -> Shape:
        return y[:-1]

    def check_shapes(self, y: Shape, t: Shape) -> None:
        if len(y) < 2:
            raise array_error("CosineSimilarity", "y", "vectors (batch, ..., features)", y)
        super().check_shapes(y, t)


def unit_vectors(y: Array, xp: Namespace) -> tuple[Array, Callable[[Array], Array]]:
    """Return ŷ = y/|y| along the last axis, and the function from ∂L/∂ŷ to ∂L/∂y.

    ∂ŷ_i/∂y_j = (1[i = j] − ŷ_i ŷ_j)/|y|. A vector of zeros gives zeros, forward and backward.
    """
    tiny = xp.finfo(y.dtype).smallest_normal
    largest = xp.max(xp.abs(y), axis=-1, keepdims=True)
    scale = xp.where(largest > tiny, largest, 1.0)
    u = y / scale  # so that no square overflows or vanishes
    length = xp.sqrt(xp.sum(u * u, axis=-1, keepdims=True))
    has_direction = largest > tiny
    inverse = xp.where(has_direction, 1.0 / xp.where(has_direction, length, 1.0), 0.0)
    unit = u * inverse

    def backward(delta: Array) -> Array:
        along = xp.sum(delta * unit, axis=-1, keepdims=True)
        return (delta - along * unit) * (inverse / scale)

    return unit, backward

"""`TripletMargin`: each vector is nearer to its own class than to others, by a margin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from bp_arrays.checks import array_error, check_number
from bp_arrays.layers import Context
from bp_arrays.losses._loss import Loss, PerSample
from bp_arrays.typing import Array, Shape


@dataclass(frozen=True)
class TripletMargin(Loss):
    """Triplet margin loss of vectors y with classes t, with the hardest triplet of each sample.

    With the distances d_ij = |y_i − y_j|, the farthest sample p of the class of i in the batch, and
    the nearest sample n of another class,

    ℓ_i = max(0, d_ip − d_in + margin), and where it is > 0,
    ∂ℓ_i/∂y_p = −u_ip, ∂ℓ_i/∂y_n = u_in, ∂ℓ_i/∂y_i = u_ip − u_in, with u_ij = (y_i − y_j)/d_ij.

    Parameters
    ----------
    margin : float, default 1.0
        By how much farther the other class must be, > 0.
    reduction : "mean" or "sum", default "mean"

    Raises
    ------
    InputError
        If the margin is not finite and > 0; in `forward`, if the shapes do not fit.

    Notes
    -----
    Outputs are vectors (batch, features), targets classes (batch,): any whole numbers from 0. **A
    batch is what is compared**: the loss depends on the batch size and on the order of the rows,
    and needs memory for (batch, batch, features) numbers. Samples without another one of their
    class, or without one of another class, count neither in the sum nor in the divisor of the mean.
    Of equal distances the first sample counts; equal vectors have no derivative of their distance,
    taken as 0. For the triplets that it chooses it is PyTorch's `TripletMarginLoss`, without its
    1e-6 in the distance. Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for Person
    Re-Identification", 2017, equation 5 ("batch hard").

    Examples
    --------
    >>> import numpy as np
    >>> from bp_arrays.layers import Context
    >>> y, t = np.array([[0.0], [2.0], [3.0]]), np.array([0, 0, 1])
    >>> value, backward = TripletMargin(1.0).forward(y, t, Context(np))
    >>> float(value), backward().tolist()  # samples 0 and 1: 2 − 3 + 1 and 2 − 1 + 1
    (1.0, [[-0.5], [1.0], [-0.5]])
    """

    margin: float = 1.0

    takes_classes: ClassVar[bool] = True
    compares_samples: ClassVar[bool] = True
    explainable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "margin", above=0.0)

    def per_sample(self, y: Array, t: Array, ctx: Context) -> PerSample:
        xp = ctx.xp
        difference = y[:, None, :] - y[None, :, :]  # (batch, batch, features)
        square = xp.sum(difference * difference, axis=2)
        is_zero = square == 0.0
        # the root of 0 has no derivative: it is taken as 0
        d = xp.where(is_zero, 0.0, xp.sqrt(xp.where(is_zero, 1.0, square)))
        positive, negative = self._pairs(t, ctx)
        farthest = self._first(xp.argmax(xp.where(positive, d, -1.0), axis=1), positive, ctx)
        nearest = self._first(xp.argmax(xp.where(negative, -d, -math.inf), axis=1), negative, ctx)
        of_positive = xp.sum(xp.where(farthest, d, 0.0), axis=1)
        of_negative = xp.sum(xp.where(nearest, d, 0.0), axis=1)
        counts = self._counts(positive, negative, ctx)
        excess = xp.where(counts, of_positive - of_negative + self.margin, 0.0)
        active = excess > 0.0

        def derivative(c: Array) -> Array:
            sign = xp.astype(farthest, y.dtype) - xp.astype(nearest, y.dtype)
            by_d = c * xp.where(active[:, None], sign, 0.0)  # ∂L/∂d_ij
            by_difference = (by_d / xp.where(is_zero, 1.0, d))[:, :, None] * difference
            # d_ij belongs to y_i and, with the other sign, to y_j
            return xp.sum(by_difference, axis=1) - xp.sum(by_difference, axis=0)

        return xp.where(active, excess, 0.0), derivative

    def _pairs(self, t: Array, ctx: Context) -> tuple[Array, Array]:
        """Return the masks of pairs of different samples of one class, and of two classes."""
        xp = ctx.xp
        number = xp.arange(t.shape[0], device=ctx.device, dtype=t.dtype)
        same = t[:, None] == t[None, :]
        return xp.logical_and(same, number[:, None] != number[None, :]), xp.logical_not(same)

    @staticmethod
    def _first(chosen: Array, pairs: Array, ctx: Context) -> Array:
        """Return the mask of one chosen sample for each, if it has such a pair."""
        xp = ctx.xp
        number = xp.arange(pairs.shape[1], device=ctx.device, dtype=chosen.dtype)
        return xp.logical_and(chosen[:, None] == number[None, :], pairs)

    @staticmethod
    def _counts(positive: Array, negative: Array, ctx: Context) -> Array:
        return ctx.xp.logical_and(ctx.xp.any(positive, axis=1), ctx.xp.any(negative, axis=1))

    def sample_weights(
        self, t: Array, y: Array, ctx: Context, weight: Array | None
    ) -> Array | None:
        counts = ctx.xp.astype(self._counts(*self._pairs(t, ctx), ctx), y.dtype)
        return counts if weight is None else counts * weight

    def target_classes(self, y: Shape) -> int | None:
        return None

    def check_shapes(self, y: Shape, t: Shape) -> None:
        if len(y) != 2:
            raise array_error("TripletMargin", "y", "vectors (batch, features)", y)
        if t != y[:1]:
            raise array_error("TripletMargin", "t", f"classes {y[:1]}", t)

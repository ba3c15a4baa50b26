"""Losses of the difference r = y − t: squared, absolute, and Huber's between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from bp_arrays.checks import check_number
from bp_arrays.layers import Context
from bp_arrays.losses._loss import Loss, PerSample
from bp_arrays.typing import Array, Shape


def _outputs(y: Array) -> float:
    """Return the number of outputs per sample."""
    return float(math.prod(y.shape[1:]))


def _axes(y: Array) -> Shape:
    """Return every axis but the batch."""
    return tuple(range(1, y.ndim))


@dataclass(frozen=True, kw_only=True)
class DifferenceLoss(Loss):
    """Base class of losses that compare outputs with targets directly."""

    output_kind: ClassVar[Literal["values", "logits"] | None] = "values"


@dataclass(frozen=True, kw_only=True)
class L2Loss(DifferenceLoss):
    """The notes' loss: ℓ = ½ Σ_j (y_j − t_j)² for each sample, ∂ℓ/∂y_j = y_j − t_j.

    Parameters
    ----------
    reduction : "mean" or "sum", default "mean"

    Examples
    --------
    >>> import numpy as np
    >>> from bp_arrays.layers import Context
    >>> value, backward = L2Loss().forward(np.ones((2, 3)), np.zeros((2, 3)), Context(np))
    >>> float(value), backward()[0].tolist()
    (1.5, [0.5, 0.5, 0.5])
    """

    def per_sample(self, y: Array, t: Array, ctx: Context) -> PerSample:
        r = y - t
        return 0.5 * ctx.xp.sum(r * r, axis=_axes(y)), lambda c: c * r


@dataclass(frozen=True, kw_only=True)
class MeanSquaredError(DifferenceLoss):
    """ℓ = 1/n Σ_j (y_j − t_j)² over the n outputs of a sample, ∂ℓ/∂y_j = 2/n (y_j − t_j).

    Parameters
    ----------
    reduction : "mean" or "sum", default "mean"
    """

    def per_sample(self, y: Array, t: Array, ctx: Context) -> PerSample:
        r, n = y - t, _outputs(y)
        return ctx.xp.sum(r * r, axis=_axes(y)) / n, lambda c: (c * (2.0 / n)) * r


@dataclass(frozen=True, kw_only=True)
class MeanAbsoluteError(DifferenceLoss):
    """ℓ = 1/n Σ_j |y_j − t_j| over the n outputs of a sample, ∂ℓ/∂y_j = sign(y_j − t_j)/n.

    Where y_j = t_j the derivative is taken as 0.

    Parameters
    ----------
    reduction : "mean" or "sum", default "mean"
    """

    def per_sample(self, y: Array, t: Array, ctx: Context) -> PerSample:
        xp, r, n = ctx.xp, y - t, _outputs(y)
        return xp.sum(xp.abs(r), axis=_axes(y)) / n, lambda c: (c / n) * xp.sign(r)


@dataclass(frozen=True)
class Huber(DifferenceLoss):
    """Huber's loss: squared near zero, absolute far away; r = y − t, n outputs.

    ℓ = 1/n Σ_j (½ r_j² where |r_j| ≤ d, else d (|r_j| − ½ d)),
    ∂ℓ/∂y_j = 1/n · r_j clipped to [−d, d].

    Parameters
    ----------
    threshold : float, default 1.0
        d, > 0.
    reduction : "mean" or "sum", default "mean"

    Raises
    ------
    InputError
        If the threshold is not finite and positive.

    Notes
    -----
    Huber, "Robust Estimation of a Location Parameter", 1964.
    """

    threshold: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "threshold", above=0.0)

    def per_sample(self, y: Array, t: Array, ctx: Context) -> PerSample:
        xp, r, d, n = ctx.xp, y - t, self.threshold, _outputs(y)
        clipped = xp.maximum(xp.minimum(r, d), -d)
        # with |clipped| = min(|r|, d) both cases are clipped (r − ½ clipped)
        losses = xp.sum(clipped * (r - 0.5 * clipped), axis=_axes(y)) / n
        return losses, lambda c: (c / n) * clipped

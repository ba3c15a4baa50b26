"""Losses of the difference r = y − t: squared, absolute, and Huber's between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bp_arrays.checks import check_number
from bp_arrays.layers import Context
from bp_arrays.losses._elementwise import ElementwiseLoss, PerTarget
from bp_arrays.losses._loss import OutputKind
from bp_arrays.typing import Array


@dataclass(frozen=True, kw_only=True)
class DifferenceLoss(ElementwiseLoss):
    """Base class of losses that compare outputs with targets directly."""

    output_kind: ClassVar[OutputKind | None] = "values"


@dataclass(frozen=True, kw_only=True)
class L2Loss(DifferenceLoss):
    """The notes' loss: ℓ = ½ Σ_j (y_j − t_j)² for each sample, ∂ℓ/∂y_j = y_j − t_j.

    Parameters
    ----------
    reduction : "mean" or "sum", default "mean"
    ignore_nan : bool, default False
        Whether targets that are NaN are ignored; see `ElementwiseLoss`.

    Examples
    --------
    >>> import numpy as np
    >>> from bp_arrays.layers import Context
    >>> value, backward = L2Loss().forward(np.ones((2, 3)), np.zeros((2, 3)), Context(np))
    >>> float(value), backward()[0].tolist()
    (1.5, [0.5, 0.5, 0.5])
    """

    def divisor(self, n: float) -> float:
        return 2.0  # ½ Σ, not a mean

    def per_target(self, y: Array, t: Array, ctx: Context) -> PerTarget:
        r = y - t
        return r * r, lambda c: c * r


@dataclass(frozen=True, kw_only=True)
class MeanSquaredError(DifferenceLoss):
    """ℓ = 1/n Σ_j (y_j − t_j)² over the n outputs of a sample, ∂ℓ/∂y_j = 2/n (y_j − t_j).

    Parameters
    ----------
    reduction : "mean" or "sum", default "mean"
    ignore_nan : bool, default False
        Whether targets that are NaN are ignored; see `ElementwiseLoss`.
    """

    def per_target(self, y: Array, t: Array, ctx: Context) -> PerTarget:
        r, n = y - t, self.targets_of(t)
        return r * r, lambda c: (c * (2.0 / n)) * r


@dataclass(frozen=True, kw_only=True)
class MeanAbsoluteError(DifferenceLoss):
    """ℓ = 1/n Σ_j |y_j − t_j| over the n outputs of a sample, ∂ℓ/∂y_j = sign(y_j − t_j)/n.

    Where y_j = t_j the derivative is taken as 0.

    Parameters
    ----------
    reduction : "mean" or "sum", default "mean"
    ignore_nan : bool, default False
        Whether targets that are NaN are ignored; see `ElementwiseLoss`.
    """

    def per_target(self, y: Array, t: Array, ctx: Context) -> PerTarget:
        xp, r, n = ctx.xp, y - t, self.targets_of(t)
        return xp.abs(r), lambda c: (c / n) * xp.sign(r)


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
    ignore_nan : bool, default False
        Whether targets that are NaN are ignored; see `ElementwiseLoss`.

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

    def per_target(self, y: Array, t: Array, ctx: Context) -> PerTarget:
        xp, r, d, n = ctx.xp, y - t, self.threshold, self.targets_of(t)
        clipped = xp.maximum(xp.minimum(r, d), -d)
        # with |clipped| = min(|r|, d) both cases are clipped (r − ½ clipped)
        return clipped * (r - 0.5 * clipped), lambda c: (c / n) * clipped

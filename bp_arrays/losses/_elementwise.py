"""`ElementwiseLoss`: losses with a term for each target, some of which may be left out."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from bp_arrays.checks import check_bool
from bp_arrays.layers import Context
from bp_arrays.losses._loss import Loss, PerSample
from bp_arrays.typing import Array, Shape

PerTarget = tuple[Array, Callable[[Array], Array]]
"""The term of every target, undivided, and the function from coefficients c to ∂L/∂y."""


@dataclass(frozen=True, kw_only=True)
class ElementwiseLoss(Loss):
    """Base class of losses of a sample that sum or average one term for each of its n targets.

    Targets are left out of the sum, and of what the mean divides by, with the weight u_ij = 0:

        L = Σ_ij c_ij ℓ_ij / d      c_ij = u_ij / (1/n Σ u) for "mean", u_ij for "sum"

    u_ij is the weight of the sample, or of the position, that target j of sample i belongs to; with
    `ignore_nan` it is 0 where the target is NaN. d is n for a mean over the outputs. If every u is
    1, L is the mean or the sum over the samples. If all are 0, it is 0.

    Parameters
    ----------
    ignore_nan : bool, default False
        Whether targets that are NaN are ignored: values that were not measured, labels that are not
        known, the padding of a sequence. The output there may be any number, its δ is 0. By default
        a NaN is refused.
    """

    ignore_nan: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bool(self, "ignore_nan")

    @abstractmethod
    def per_target(self, y: Array, t: Array, ctx: Context) -> PerTarget:
        """Return d ℓ_ij in the shape of t, and the function from c to the derivative Σ c_ij ∂ℓ_ij.

        The function returns an array of the shape of y; its argument, the coefficients c, is one
        number, or an array of as many axes as t that broadcasts to its shape.
        """

    def divisor(self, n: float) -> float:
        """Return d, by which the sum of the terms of a sample is divided: by default n."""
        return n

    @staticmethod
    def targets_of(t: Array) -> float:
        """Return n, the number of targets of a sample."""
        return float(math.prod(t.shape[1:]))

    def per_sample(self, y: Array, t: Array, ctx: Context) -> PerSample:
        terms, derivative = self.per_target(y, t, ctx)
        losses = ctx.xp.sum(terms, axis=tuple(range(1, t.ndim)))
        return losses / self.divisor(self.targets_of(t)), derivative

    def outputs_of_counted(self, y: Array, counted: Array, ctx: Context) -> Array:
        """Return the outputs, with 0 for those of targets that do not count.

        Such an output may be so large that its term overflows, and 0 · ∞ would be NaN.
        """
        return ctx.xp.where(counted, y, 0.0)

    def _combined(
        self, y: Array, t: Array, ctx: Context, weight: Array | None
    ) -> tuple[Array, Callable[[], Array]]:
        u = self._weight_of_targets(t, y, ctx, weight)
        if u is None:
            return super()._combined(y, t, ctx, weight)
        xp, n, counted = ctx.xp, self.targets_of(t), u > 0.0
        y = self.outputs_of_counted(y, counted, ctx)
        terms, derivative = self.per_target(y, xp.where(counted, t, 0.0), ctx)
        c = u
        if self.reduction == "mean":
            total = xp.sum(u)
            c = u * (n / xp.where(total > 0.0, total, 1.0))  # as many parts as samples
        return xp.sum(c * terms) / self.divisor(n), lambda: derivative(c)

    def _weight_of_targets(
        self, t: Array, y: Array, ctx: Context, weight: Array | None
    ) -> Array | None:
        """Return u in the shape of t; None if every target has the weight of its sample."""
        if not self.ignore_nan and (weight is None or weight.ndim == 1):
            return None
        xp = ctx.xp
        if weight is None:
            return xp.astype(self.counted(t), y.dtype)
        u = xp.reshape(weight, tuple(weight.shape) + (1,) * (t.ndim - weight.ndim))
        if not self.ignore_nan:
            return xp.broadcast_to(u, t.shape)
        return xp.where(self.counted(t), u, 0.0)

    def sample_weights(
        self, t: Array, y: Array, ctx: Context, weight: Array | None
    ) -> Array | None:
        u = self._weight_of_targets(t, y, ctx, weight)
        if u is None:
            return super().sample_weights(t, y, ctx, weight)
        return ctx.xp.sum(u, axis=tuple(range(1, t.ndim))) / self.targets_of(t)

    def counted(self, t: Array) -> Array | None:
        return t == t if self.ignore_nan else None  # NaN is not equal to itself

    def weighted_positions(self, y: Shape) -> Shape:
        return y[:-1] if len(y) > 2 else y[:1]

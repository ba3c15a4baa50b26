"""Losses of scikit-learn's MLP that the library does not export."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from bp_arrays.layers import Context
from bp_arrays.losses import BinaryCrossEntropy, Loss, PerSample
from bp_arrays.typing import Array


@dataclass(frozen=True, kw_only=True)
class SummedBinaryCrossEntropy(Loss):
    """Binary cross-entropy summed over n independent outputs: n times `BinaryCrossEntropy`."""

    mean: BinaryCrossEntropy = field(default_factory=BinaryCrossEntropy)

    target_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)
    output_kind: ClassVar[Literal["values", "logits"] | None] = "logits"

    def per_sample(self, y: Array, t: Array, ctx: Context) -> PerSample:
        n = float(y.shape[1])
        losses, derivative = self.mean.per_sample(y, t, ctx)
        return n * losses, lambda c: derivative(n * c)


@dataclass(frozen=True, kw_only=True)
class PoissonLoss(Loss):
    """Half the Poisson deviance of counts t with mean e^y, summed over the outputs.

    ℓ = Σ_j (t_j log t_j − t_j y_j − t_j + e^{y_j}), ∂ℓ/∂y_j = e^{y_j} − t_j; t log t is 0 at 0.

    Source: McCullagh, Nelder, "Generalized Linear Models", 1989, section 6.
    """

    target_range: ClassVar[tuple[float, float] | None] = (0.0, math.inf)

    def per_sample(self, y: Array, t: Array, ctx: Context) -> PerSample:
        xp = ctx.xp
        rate = xp.exp(y)
        positive = xp.where(t > 0.0, t, 1.0)
        terms = t * (xp.log(positive) - y) - t + rate
        return xp.sum(terms, axis=1), lambda c: c * (rate - t)

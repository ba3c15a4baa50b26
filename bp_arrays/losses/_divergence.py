"""`KLDivergence`: how far predicted probabilities are from those of the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bp_arrays.checks import array_error
from bp_arrays.layers import Context
from bp_arrays.losses._loss import Loss, OutputKind, PerSample, flatten_advice
from bp_arrays.typing import Array, Shape


@dataclass(frozen=True, kw_only=True)
class KLDivergence(Loss):
    """Kullback–Leibler divergence of p = softmax(y) from target probabilities t.

    ℓ = Σ_k t_k (log t_k − log p_k), 0 if p = t; ∂ℓ/∂y_j = p_j Σ_k t_k − t_j, which is p_j − t_j as
    t sums to 1. It is `CrossEntropy` less the entropy of t, with the same gradient.

    Parameters
    ----------
    reduction : "mean" or "sum", default "mean"

    Raises
    ------
    InputError
        In `forward`, if the shapes do not fit; in training, for probabilities that do not sum to 1.

    Notes
    -----
    Outputs are logits (batch, ..., classes), targets probabilities of the same shape: a probability
    of 0 contributes 0. Every position counts like a sample, with the weight of its sample; weights
    of the shape (batch, ...) weigh each position. PyTorch's `KLDivLoss` takes log-probabilities as
    its input, and this mean over the samples is its `reduction="batchmean"`; Keras's
    `KLDivergence` takes probabilities. Outputs of `LogSoftmax` are logits too, with the same loss.
    Kullback, Leibler, "On Information and Sufficiency", 1951.

    Examples
    --------
    >>> import numpy as np
    >>> from bp_arrays.layers import Context
    >>> y, t = np.zeros((1, 2)), np.array([[1.0, 0.0]])
    >>> value, backward = KLDivergence().forward(y, t, Context(np))
    >>> round(float(value / np.log(2)), 6), backward().tolist()
    (1.0, [[-0.5, 0.5]])
    """

    targets_sum_to_one: ClassVar[bool] = True
    target_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)
    output_kind: ClassVar[OutputKind | None] = "logits"

    def per_sample(self, y: Array, t: Array, ctx: Context) -> PerSample:
        xp = ctx.xp
        shifted = y - xp.max(y, axis=-1, keepdims=True)
        e = xp.exp(shifted)
        total = xp.sum(e, axis=-1, keepdims=True)
        log_p = shifted - xp.log(total)
        positive = t > 0.0  # 0 log 0 is 0; interpolated probabilities may be −1e-9
        log_t = xp.log(xp.where(positive, t, 1.0))
        terms = t * xp.where(positive, log_t - log_p, 0.0)

        def derivative(c: Array) -> Array:
            counted = xp.where(positive, t, 0.0)
            return c * (e / total * xp.sum(counted, axis=-1, keepdims=True) - counted)

        return xp.sum(terms, axis=-1), derivative

    def positions(self, y: Shape) -> Shape:
        return y[:-1]

    def check_shapes(self, y: Shape, t: Shape) -> None:
        if len(y) < 2 or y[-1] < 2:
            expected = "logits (batch, ..., classes) of two classes or more"
            raise array_error("KLDivergence", "y", expected, y)
        if t != y:
            advice = "use CrossEntropy() for classes" if t == y[:-1] else flatten_advice(y, t)
            raise array_error("KLDivergence", "t", f"probabilities {y}", t, advice)

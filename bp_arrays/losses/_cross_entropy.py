"""Losses of probabilities, computed from logits: cross-entropy for classes and for yes or no."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from bp_arrays.activations import logistic
from bp_arrays.errors import InputError
from bp_arrays.layers import Context
from bp_arrays.losses._loss import Loss, PerSample
from bp_arrays.typing import Array


@dataclass(frozen=True, kw_only=True)
class BinaryCrossEntropy(Loss):
    """Yes-no outputs from logits y, p = σ(y), the mean over the n outputs of a sample.

    ℓ = −1/n Σ_j (t_j log p_j + (1 − t_j) log(1 − p_j)), ∂ℓ/∂y_j = (p_j − t_j)/n.

    Parameters
    ----------
    reduction : "mean" or "sum", default "mean"
    """

    def per_sample(self, y: Array, t: Array, ctx: Context) -> PerSample:
        xp, n = ctx.xp, float(math.prod(y.shape[1:]))
        # −t log σ(y) − (1 − t) log(1 − σ(y)) = log(1 + eʸ) − t y, without overflow:
        terms = (xp.maximum(y, 0.0) - t * y) + xp.log1p(xp.exp(-xp.abs(y)))
        losses = xp.sum(terms, axis=tuple(range(1, y.ndim))) / n
        return losses, lambda c: (c / n) * (logistic(y, xp) - t)


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """One class of several, from logits y, p = softmax(y).

    ℓ = −Σ_k q_k log p_k with q the target as probabilities: 1 at the class, 0 elsewhere; with
    smoothing s, (1 − s) q + s/K. Since ∂ log p_k/∂y_j = 1[k = j] − p_j,
    ∂ℓ/∂y_j = p_j Σ_k q_k − q_j, which is p_j − q_j as q sums to 1.

    Parameters
    ----------
    label_smoothing : float, default 0.0
        s in [0, 1).
    class_weights : tuple of float, optional
        How much a sample of each class counts, multiplied with its sample weight; the mean is
        divided by the sum of the weights. A sample with probabilities as its target counts
        Σ_k t_k weight_k.
    reduction : "mean" or "sum", default "mean"

    Raises
    ------
    InputError
        For a smoothing or weights out of range, or logits that are not (batch, classes).

    Notes
    -----
    Targets are classes (batch,), integers from 0, or probabilities (batch, classes). A logit of
    −∞ rules its class out. Smoothing:
    Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016, section 7.

    Examples
    --------
    >>> import numpy as np
    >>> from bp_arrays.layers import Context
    >>> y, t = np.log([[0.25, 0.75]]), np.array([1])
    >>> value, backward = CrossEntropy().forward(y, t, Context(np))
    >>> round(float(np.exp(-value)), 6), backward().round(6).tolist()
    (0.75, [[0.25, -0.25]])
    """

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None

    takes_classes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "label_smoothing", float(self.label_smoothing))
        if not 0.0 <= self.label_smoothing < 1.0:
            raise InputError(
                f"CrossEntropy(label_smoothing): expected 0 <= s < 1, got {self.label_smoothing}"
            )
        if self.class_weights is not None:
            weights = tuple(float(weight) for weight in self.class_weights)
            if not all(0.0 <= weight < math.inf for weight in weights) or not any(weights):
                raise InputError(
                    f"CrossEntropy(class_weights): expected numbers of 0 or more, not all 0, "
                    f"got {self.class_weights}"
                )
            object.__setattr__(self, "class_weights", weights)

    def per_sample(self, y: Array, t: Array, ctx: Context) -> PerSample:
        xp, s = ctx.xp, self.label_smoothing
        shifted = y - xp.max(y, axis=-1, keepdims=True)
        e = xp.exp(shifted)
        total = xp.sum(e, axis=-1, keepdims=True)
        log_p = shifted - xp.log(total)

        q = self._probabilities(t, y, ctx)
        if s > 0.0:
            q = (1.0 - s) * q + s / y.shape[-1]

        def derivative(c: Array) -> Array:
            p = e / total
            if t.ndim == y.ndim:  # targets of the caller's making, which need not sum to 1
                p = p * xp.sum(q, axis=-1, keepdims=True)
            return c * (p - q)

        # 0 log 0 is 0: a class ruled out by the logit −∞ costs nothing unless it is the target
        return -xp.sum(q * xp.where(q != 0.0, log_p, 0.0), axis=-1), derivative

    def sample_weights(
        self, t: Array, y: Array, ctx: Context, weight: Array | None
    ) -> Array | None:
        if self.class_weights is None:
            return weight
        xp = ctx.xp
        by_class = xp.asarray(self.class_weights, dtype=y.dtype, device=ctx.device)
        by_sample = xp.sum(self._probabilities(t, y, ctx) * by_class, axis=-1)
        return by_sample if weight is None else by_sample * weight

    def check_shapes(self, y: tuple[int, ...], t: tuple[int, ...]) -> None:
        if len(y) != 2:
            raise InputError(f"CrossEntropy: logits must be (batch, classes), got {y}")
        if t not in (y, y[:1]):
            raise InputError(
                f"CrossEntropy: for logits {y}, targets must be classes {y[:1]} or "
                f"probabilities {y}, got {t}"
            )
        if self.class_weights is not None and len(self.class_weights) != y[1]:
            raise InputError(
                f"CrossEntropy(class_weights): expected one weight for each of the {y[1]} "
                f"classes, got {len(self.class_weights)}"
            )

    def _probabilities(self, t: Array, y: Array, ctx: Context) -> Array:
        if t.ndim == y.ndim:
            return t
        xp = ctx.xp
        classes = xp.arange(y.shape[-1], dtype=t.dtype, device=ctx.device)
        return xp.astype(xp.reshape(t, (t.shape[0], 1)) == classes, y.dtype)

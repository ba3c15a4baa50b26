"""Cross-entropy losses, computed from logits: for classes and for binary outputs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from bp_arrays.checks import array_error, check_integer, check_number, check_numbers
from bp_arrays.kernels import logistic
from bp_arrays.layers import Context
from bp_arrays.losses._classes import counted_classes, is_class, weights_of_counted
from bp_arrays.losses._elementwise import ElementwiseLoss, PerTarget
from bp_arrays.losses._loss import Loss, OutputKind, PerSample, flatten_advice
from bp_arrays.typing import Array, Shape


@dataclass(frozen=True, kw_only=True)
class BinaryCrossEntropy(ElementwiseLoss):
    """Binary cross-entropy of logits y, p = σ(y): the mean over the n outputs of a sample.

    ℓ = −1/n Σ_j (t_j log p_j + (1 − t_j) log(1 − p_j)), ∂ℓ/∂y_j = (p_j − t_j)/n.

    Targets are 0 and 1, or probabilities between them. With the weight w_j of the positives, t_j
    log p_j counts w_j times: ∂ℓ/∂y_j = ((1 − t_j + w_j t_j) p_j − w_j t_j)/n.

    Parameters
    ----------
    pos_weight : float or tuple of float, default 1.0
        w > 0, for all outputs or one for each (the last axis); negatives per positive balances
        the two. The mean is over the outputs and samples all the same, as in PyTorch.
    reduction : "mean" or "sum", default "mean"
    ignore_nan : bool, default False
        Whether targets that are NaN, such as unknown labels, are ignored; see `ElementwiseLoss`.

    Raises
    ------
    InputError
        If a weight is not finite and > 0; in `forward`, if there is not one for each output.

    Examples
    --------
    >>> import numpy as np
    >>> from bp_arrays.layers import Context
    >>> y, t = np.zeros((1, 2)), np.array([[1.0, 0.0]])
    >>> value, backward = BinaryCrossEntropy(pos_weight=3.0).forward(y, t, Context(np))
    >>> round(float(value / np.log(2)), 6), backward().tolist()
    (2.0, [[-0.75, 0.25]])
    """

    pos_weight: float | tuple[float, ...] = 1.0

    target_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)
    output_kind: ClassVar[OutputKind | None] = "logits"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.pos_weight, Iterable):
            check_numbers(self, "pos_weight", above=0.0)
        else:
            check_number(self, "pos_weight", above=0.0)

    def per_target(self, y: Array, t: Array, ctx: Context) -> PerTarget:
        xp, n = ctx.xp, self.targets_of(t)
        if self.pos_weight != 1.0:
            return self._weighted(y, t, ctx, n)
        # −t log σ(y) − (1 − t) log(1 − σ(y)) = log(1 + eʸ) − t y, without overflow:
        terms = (xp.maximum(y, 0.0) - t * y) + xp.log1p(xp.exp(-xp.abs(y)))
        return terms, lambda c: (c / n) * (logistic(y, xp=xp) - t)

    def _weighted(self, y: Array, t: Array, ctx: Context, n: float) -> PerTarget:
        """Return the same with w t for t in the first term: q is the weight of both together."""
        xp, w = ctx.xp, self.pos_weight
        wt = (ctx.constant(w, y.dtype) if isinstance(w, tuple) else w) * t
        q = (1.0 - t) + wt
        # −w t log σ(y) − (1 − t) log(1 − σ(y)) with log(1 + eʸ) = max(y, 0) + log(1 + e⁻|y|):
        # all terms are ≥ 0, so that none cancels the tail of another
        terms = (1.0 - t) * xp.maximum(y, 0.0) + wt * xp.maximum(-y, 0.0)
        terms = terms + q * xp.log1p(xp.exp(-xp.abs(y)))
        return terms, lambda c: (c / n) * (q * logistic(y, xp=xp) - wt)

    def check_shapes(self, y: Shape, t: Shape) -> None:
        super().check_shapes(y, t)
        w = self.pos_weight
        if isinstance(w, tuple) and len(w) != y[-1]:
            expected = f"one weight for each of the {y[-1]} outputs"
            raise array_error("BinaryCrossEntropy", "pos_weight", expected, len(w))


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Cross-entropy of logits y over classes, p = softmax(y).

    ℓ = −Σ_k q_k log p_k with q the target as probabilities: 1 at the class, 0 elsewhere; with
    smoothing s, (1 − s) q + s/K. Since ∂ log p_k/∂y_j = 1[k = j] − p_j,
    ∂ℓ/∂y_j = p_j Σ_k q_k − q_j, which is p_j − q_j as q sums to 1.

    Parameters
    ----------
    label_smoothing : float, default 0.0
        s in [0, 1).
    class_weights : tuple of float, optional
        The weight of a sample of each class, multiplied by its sample weight; the mean is
        divided by the sum of the weights. The class weight of a sample with probabilities t as
        its target is Σ_k t_k weight_k. With smoothing, the weight of the class applies to all
        terms of a sample; in PyTorch, the term of each class has the weight of that class.
    ignore_index : int, optional
        A target to ignore, such as −100 in PyTorch or the class of a padding: it contributes
        neither to the sum nor to the divisor of the mean. If all targets of a batch are ignored,
        its loss is 0.
    reduction : "mean" or "sum", default "mean"

    Raises
    ------
    InputError
        If the smoothing or a weight is out of range; in `forward`, if the shapes do not fit; in
        training, for probabilities that do not sum to 1.

    Notes
    -----
    For logits (batch, ..., classes) targets are classes (batch, ...), integers from 0, or
    probabilities of the logits' shape. With axes between, as in a sequence (batch, time, classes),
    every position counts like a sample, with the weight of its sample; weights of the shape
    (batch, ...) weigh each position. A logit of −∞ gives its class the probability 0. Smoothing:
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
    ignore_index: int | None = None

    takes_classes: ClassVar[bool] = True
    targets_sum_to_one: ClassVar[bool] = True
    target_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)
    output_kind: ClassVar[OutputKind | None] = "logits"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "label_smoothing", at_least=0.0, below=1.0)
        if self.class_weights is not None:
            check_numbers(self, "class_weights", at_least=0.0)
        if self.ignore_index is not None:
            check_integer(self, "ignore_index")

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
            if t.ndim == y.ndim:  # probabilities passed by the user need not sum to 1
                p = p * xp.sum(q, axis=-1, keepdims=True)
            return c * (p - q)

        # 0 log 0 is 0: a class with the logit −∞ costs nothing unless it is the target
        return -xp.sum(q * xp.where(q != 0.0, log_p, 0.0), axis=-1), derivative

    def sample_weights(
        self, t: Array, y: Array, ctx: Context, weight: Array | None
    ) -> Array | None:
        xp, weight = ctx.xp, super().sample_weights(t, y, ctx, weight)
        if self.class_weights is not None:  # ignored targets have q = 0, so the weight 0 too
            class_weights = ctx.constant(self.class_weights, y.dtype)
            weights = xp.sum(self._probabilities(t, y, ctx) * class_weights, axis=-1)
        else:
            return weights_of_counted(self.counted(t), weight, y, ctx)
        return weights if weight is None else weights * weight

    def positions(self, y: Shape) -> Shape:
        return y[:-1]

    def counted(self, t: Array) -> Array | None:
        return counted_classes(t, self.ignore_index)

    def check_shapes(self, y: Shape, t: Shape) -> None:
        if len(y) < 2:
            raise array_error("CrossEntropy", "y", "logits (batch, ..., classes)", y)
        if y[-1] < 2:  # the softmax of one number is 1: loss and gradient would be 0
            expected = "one output for each of two classes or more"
            advice = "for one output use BinaryCrossEntropy"
            raise array_error("CrossEntropy", "y", expected, f"{y[-1]} output", advice)
        if t == y and self.ignore_index is not None:
            expected = f"classes {y[:-1]}, which ignore_index requires"
            raise array_error("CrossEntropy", "t", expected, f"probabilities {t}")
        if t not in (y, y[:-1]):
            expected = f"classes {y[:-1]} or probabilities {y}"
            raise array_error("CrossEntropy", "t", expected, t, flatten_advice(y, t))
        if self.class_weights is not None and len(self.class_weights) != y[-1]:
            expected = f"one weight for each of the {y[-1]} classes"
            raise array_error("CrossEntropy", "class_weights", expected, len(self.class_weights))

    def _probabilities(self, t: Array, y: Array, ctx: Context) -> Array:
        """Return q before smoothing; 0 for every class of an ignored target."""
        if t.ndim == y.ndim:
            return t
        return ctx.xp.astype(is_class(t, self.counted(t), y, ctx), y.dtype)

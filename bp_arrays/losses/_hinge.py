"""Losses of margins: hinge and squared hinge for two classes, multi-margin for several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bp_arrays.checks import argument_error, array_error, check_integer, check_number
from bp_arrays.layers import Context
from bp_arrays.losses._classes import counted_classes, is_class, weights_of_counted
from bp_arrays.losses._elementwise import ElementwiseLoss, PerTarget
from bp_arrays.losses._loss import Loss, OutputKind, PerSample, flatten_advice
from bp_arrays.typing import Array, Shape


@dataclass(frozen=True, kw_only=True)
class MarginLoss(ElementwiseLoss):
    """Base class of losses of scores y with two classes: s_j = 1 for t_j > 0, else −1."""

    target_values: ClassVar[tuple[float, ...] | None] = (-1.0, 0.0, 1.0)
    output_kind: ClassVar[OutputKind | None] = "logits"


def signs(t: Array, y: Array, ctx: Context) -> Array:
    """Return 1 where t > 0, else −1."""
    return 2.0 * ctx.xp.astype(t > 0.0, y.dtype) - 1.0


@dataclass(frozen=True, kw_only=True)
class Hinge(MarginLoss):
    """Hinge loss of scores y: the mean of max(0, 1 − s_j y_j) over the n outputs of a sample.

    s_j is 1 for the target 1, and −1 for the target 0 or −1. With the margin h_j = max(0, 1 − s_j
    y_j), ∂ℓ/∂y_j = −s_j/n where h_j > 0, else 0; at the kink, s_j y_j = 1, it is 0.

    Parameters
    ----------
    reduction : "mean" or "sum", default "mean"
    ignore_nan : bool, default False
        Whether targets that are NaN are ignored; see `ElementwiseLoss`.

    Notes
    -----
    Targets are 0 and 1, or −1 and 1, of the shape of the outputs. The class is the sign of the
    score: `BinaryAccuracy()` fits, with targets 0 and 1. The scores are no logits of probabilities.
    Keras takes the same targets; PyTorch has no such loss (its `HingeEmbeddingLoss` is another
    one). Cortes, Vapnik, "Support-Vector Networks", 1995.

    Examples
    --------
    >>> import numpy as np
    >>> from bp_arrays.layers import Context
    >>> y, t = np.array([[0.5, 2.0]]), np.array([[1.0, 0.0]])
    >>> value, backward = Hinge().forward(y, t, Context(np))
    >>> float(value), backward().tolist()
    (1.75, [[-0.5, 0.5]])
    """

    def per_target(self, y: Array, t: Array, ctx: Context) -> PerTarget:
        xp, n, s = ctx.xp, self.targets_of(t), signs(t, y, ctx)
        h = xp.maximum(1.0 - s * y, 0.0)
        return h, lambda c: (c / n) * (-s * xp.astype(h > 0.0, y.dtype))


@dataclass(frozen=True, kw_only=True)
class SquaredHinge(MarginLoss):
    """Squared hinge loss of scores y: the mean of max(0, 1 − s_j y_j)² over the n outputs.

    ∂ℓ/∂y_j = −2/n s_j h_j with h_j = max(0, 1 − s_j y_j); s, the targets and the metrics that fit
    are those of `Hinge`.

    Parameters
    ----------
    reduction : "mean" or "sum", default "mean"
    ignore_nan : bool, default False
        Whether targets that are NaN are ignored; see `ElementwiseLoss`.
    """

    def per_target(self, y: Array, t: Array, ctx: Context) -> PerTarget:
        n, s = self.targets_of(t), signs(t, y, ctx)
        h = ctx.xp.maximum(1.0 - s * y, 0.0)
        return h * h, lambda c: (c * (2.0 / n)) * (-s * h)


@dataclass(frozen=True)
class MultiMargin(Loss):
    """Hinge loss of scores y of K classes: penalizes each class within m of the target's score.

    ℓ = 1/K Σ_{k≠c} h_k^p with h_k = max(0, m − y_c + y_k); ∂ℓ/∂y_k = p/K h_k^(p−1) where h_k > 0
    for k ≠ c, and ∂ℓ/∂y_c = −Σ_{k≠c} ∂ℓ/∂y_k.

    Parameters
    ----------
    power : 1 or 2, default 1
        p.
    margin : float, default 1.0
        m, > 0.
    ignore_index : int, optional
        A target to ignore, as in `CrossEntropy`.
    reduction : "mean" or "sum", default "mean"

    Raises
    ------
    InputError
        If the power or the margin is out of range; in `forward`, if the shapes do not fit.

    Notes
    -----
    For scores (batch, ..., classes) targets are classes (batch, ...), integers from 0; every
    position counts like a sample, and weights are per sample or per position. The same as
    PyTorch's `MultiMarginLoss`, division by K included. Weston, Watkins, "Support Vector Machines
    for Multi-Class Pattern Recognition", 1999.

    Examples
    --------
    >>> import numpy as np
    >>> from bp_arrays.layers import Context
    >>> y, t = np.array([[2.0, 1.5, 0.0, 0.0]]), np.array([0])
    >>> value, backward = MultiMargin().forward(y, t, Context(np))
    >>> float(value), backward().tolist()
    (0.125, [[-0.25, 0.25, 0.0, 0.0]])
    """

    power: int = 1
    margin: float = 1.0
    ignore_index: int | None = None

    takes_classes: ClassVar[bool] = True
    output_kind: ClassVar[OutputKind | None] = "logits"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.power, bool) or self.power not in (1, 2):
            raise argument_error("MultiMargin", "power", self.power, "1 or 2")
        check_integer(self, "power")
        check_number(self, "margin", above=0.0)
        if self.ignore_index is not None:
            check_integer(self, "ignore_index")

    def per_sample(self, y: Array, t: Array, ctx: Context) -> PerSample:
        xp, share = ctx.xp, 1.0 / y.shape[-1]
        is_target = is_class(t, self.counted(t), y, ctx)
        y_c = xp.sum(xp.where(is_target, y, 0.0), axis=-1, keepdims=True)
        h = xp.where(is_target, 0.0, xp.maximum(self.margin - y_c + y, 0.0))

        def derivative(c: Array) -> Array:
            slope = (c * share) * (xp.astype(h > 0.0, y.dtype) if self.power == 1 else 2.0 * h)
            return xp.where(is_target, -xp.sum(slope, axis=-1, keepdims=True), slope)

        return xp.sum(h if self.power == 1 else h * h, axis=-1) * share, derivative

    def sample_weights(
        self, t: Array, y: Array, ctx: Context, weight: Array | None
    ) -> Array | None:
        weight = super().sample_weights(t, y, ctx, weight)
        return weights_of_counted(self.counted(t), weight, y, ctx)

    def positions(self, y: Shape) -> Shape:
        return y[:-1]

    def counted(self, t: Array) -> Array | None:
        return counted_classes(t, self.ignore_index)

    def check_shapes(self, y: Shape, t: Shape) -> None:
        if len(y) < 2 or y[-1] < 2:
            expected = "scores (batch, ..., classes) of two classes or more"
            raise array_error("MultiMargin", "y", expected, y, "for one output use Hinge()")
        if t != y[:-1]:
            advice = flatten_advice(y, t) or "use CrossEntropy() for probabilities" * (t == y)
            raise array_error("MultiMargin", "t", f"classes {y[:-1]}", t, advice)

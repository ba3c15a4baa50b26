"""Negative log-likelihoods: of counts (Poisson), and of values with a predicted variance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from bp_arrays.checks import array_error, check_bool, check_number
from bp_arrays.layers import Context
from bp_arrays.losses._elementwise import ElementwiseLoss, PerTarget
from bp_arrays.losses._loss import OutputKind, flatten_advice
from bp_arrays.typing import Array, Namespace, Shape


@dataclass(frozen=True)
class PoissonNLL(ElementwiseLoss):
    """Negative log-likelihood of counts t with the rate λ = eʸ: the mean over the n outputs.

    ℓ = 1/n Σ_j (e^{y_j} − t_j y_j), and with `full` + log t_j!; ∂ℓ/∂y_j = (e^{y_j} − t_j)/n.

    Parameters
    ----------
    full : bool, default False
        Whether the loss contains log t!, which has no gradient: it is then the negative logarithm
        of a probability, and ≥ 0 for whole t.
    reduction : "mean" or "sum", default "mean"
    ignore_nan : bool, default False
        Whether targets that are NaN are ignored; see `ElementwiseLoss`.

    Notes
    -----
    Outputs are the logarithms of rates: predict counts with `numpy.exp(model.predict(x))`. Targets
    are numbers ≥ 0, whole or not; t! is Γ(t + 1). The rate overflows, and the loss is infinite, for
    y above 88 in float32. The same as PyTorch's `PoissonNLLLoss(log_input=True)`, whose `full` adds
    Stirling's approximation instead of log t!, up to 0.04 too little, and nothing for t ≤ 1.

    Examples
    --------
    >>> import numpy as np
    >>> from bp_arrays.layers import Context
    >>> y, t = np.log([[2.0]]), np.array([[3.0]])
    >>> value, backward = PoissonNLL(full=True).forward(y, t, Context(np))
    >>> round(float(np.exp(-value)), 6), backward().round(6).tolist()  # e⁻² 2³ / 3!
    (0.180447, [[-1.0]])
    """

    full: bool = False

    target_range: ClassVar[tuple[float, float] | None] = (0.0, math.inf)
    output_kind: ClassVar[OutputKind | None] = "logarithms"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bool(self, "full")

    def per_target(self, y: Array, t: Array, ctx: Context) -> PerTarget:
        xp, n = ctx.xp, self.targets_of(t)
        rate = xp.exp(y)
        terms = rate - t * y
        if self.full:
            terms = terms + log_factorial(t, xp)
        return terms, lambda c: (c / n) * (rate - t)


SHIFT = 8
BERNOULLI = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
"""B_2k / (2k (2k − 1)): the coefficients of Stirling's series."""


def log_factorial(t: Array, xp: Namespace) -> Array:
    """Compute log t! = log Γ(t + 1) for t ≥ 0.

    Stirling's series at z = t + 1; for small t at z + 8, as Γ(z) = Γ(z + 8) / (z (z + 1) … (z +
    7)), where its first left out term is below 1e-15. Source: NIST Handbook, 5.11.1.
    """
    small = t < SHIFT
    z = xp.where(small, t + (SHIFT + 1.0), t + 1.0)
    near = xp.where(small, t, 0.0)
    product = near + 1.0
    for k in range(2, SHIFT + 1):
        product = product * (near + float(k))
    inverse = 1.0 / z
    square = inverse * inverse
    series = BERNOULLI[-1] * square + BERNOULLI[-2]
    for coefficient in reversed(BERNOULLI[:-2]):
        series = series * square + coefficient
    log_gamma = (z - 0.5) * xp.log(z) - z + (0.5 * math.log(2.0 * math.pi) + series * inverse)
    return log_gamma - xp.where(small, xp.log(product), 0.0)


@dataclass(frozen=True)
class GaussianNLL(ElementwiseLoss):
    """Negative log-likelihood of values t with predicted mean μ and variance v, over n targets.

    The last axis of the outputs y is 2k long for k targets: first the k means, then k numbers s
    with v = ε + eˢ. With r = μ − t,

    ℓ = 1/n Σ_j ½ (log v_j + r_j²/v_j), and with `full` + ½ log 2π,
    ∂ℓ/∂μ_j = 1/n r_j/v_j, ∂ℓ/∂s_j = 1/n ½ (1 − r_j²/v_j) e^{s_j}/v_j.

    Parameters
    ----------
    min_variance : float, default 1e-6
        ε, > 0, which bounds the weight 1/v of a sample whose error vanishes: standardize the
        targets, or choose it in the square of their unit.
    full : bool, default False
        Whether the loss contains ½ log 2π.
    reduction : "mean" or "sum", default "mean"
    ignore_nan : bool, default False
        Whether targets that are NaN are ignored; see `ElementwiseLoss`.

    Raises
    ------
    InputError
        If the variance is not finite and > 0; in `forward`, if y has not two outputs per target.

    Notes
    -----
    s may be any finite number: the variance lies between ε and infinity, and neither the loss nor
    its derivative overflows. PyTorch's `GaussianNLLLoss` takes mean and variance apart, and instead
    of adding ε it raises smaller variances to it, with a derivative as if it had not. Nix, Weigend,
    "Estimating the mean and variance of the target probability distribution", 1994.

    Examples
    --------
    >>> import numpy as np
    >>> from bp_arrays.layers import Context
    >>> y, t = np.array([[1.0, 0.0]]), np.array([[3.0]])  # mean 1, variance 1
    >>> value, backward = GaussianNLL().forward(y, t, Context(np))
    >>> round(float(value), 4), backward().round(4).tolist()
    (2.0, [[-2.0, -1.5]])
    """

    min_variance: float = 1e-6
    full: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "min_variance", above=0.0)
        check_bool(self, "full")

    def per_target(self, y: Array, t: Array, ctx: Context) -> PerTarget:
        xp, n, k, epsilon = ctx.xp, self.targets_of(t), t.shape[-1], self.min_variance
        r, s = y[..., :k] - t, y[..., k:]
        # v = ε + eˢ by e = e^−|s|, which cannot overflow: for s > 0 it is eˢ (1 + ε e), else ε + e
        large, e = s > 0.0, xp.exp(-xp.abs(s))
        d = xp.where(large, 1.0 + epsilon * e, epsilon + e)
        inverse = xp.where(large, e, 1.0) / d  # 1/v
        share = xp.where(large, 1.0, e) / d  # eˢ/v
        z = r * xp.sqrt(inverse)
        terms = 0.5 * (xp.maximum(s, 0.0) + xp.log(d) + z * z)
        if self.full:
            terms = terms + 0.5 * math.log(2.0 * math.pi)

        def derivative(c: Array) -> Array:
            by_mean = (c / n) * (r * inverse)
            by_s = (c * (0.5 / n)) * ((1.0 - z * z) * share)
            return xp.concat([by_mean, by_s], axis=-1)

        return terms, derivative

    def outputs_of_counted(self, y: Array, counted: Array, ctx: Context) -> Array:
        return ctx.xp.where(ctx.xp.concat([counted, counted], axis=-1), y, 0.0)

    def target_shape(self, y: Shape) -> Shape:
        return (*y[:-1], y[-1] // 2)

    def check_shapes(self, y: Shape, t: Shape) -> None:
        if len(y) < 2 or y[-1] % 2:
            expected = "outputs (batch, ..., 2k), a mean and a variance for each of k targets"
            raise array_error("GaussianNLL", "y", expected, y)
        if t != self.target_shape(y):
            expected = f"{self.target_shape(y)}, one target for two outputs of {y}"
            raise array_error("GaussianNLL", "t", expected, t, flatten_advice(y, t))

"""`Contrastive`: vectors of one class are drawn together, those of different classes apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bp_arrays.checks import array_error, check_number
from bp_arrays.layers import Context
from bp_arrays.losses._cosine import unit_vectors
from bp_arrays.losses._loss import Loss, PerSample
from bp_arrays.typing import Array, Shape


@dataclass(frozen=True)
class Contrastive(Loss):
    """Supervised contrastive loss of vectors y with classes t, over the pairs of a batch.

    With the unit vectors z = y/|y|, the similarities s_ij = z_i·z_j/τ, and p_ij = e^{s_ij} over its
    sum for all j ≠ i, each sample i that shares its class with the set P of m ≥ 1 others has

    ℓ_i = −1/m Σ_{j∈P} log p_ij, ∂ℓ_i/∂s_ij = p_ij − 1[j ∈ P]/m,

    and of each s_ij the derivatives by z_i and z_j are z_j/τ and z_i/τ.

    Parameters
    ----------
    temperature : float, default 0.1
        τ, > 0: the smaller, the more the nearest vectors of other classes count.
    reduction : "mean" or "sum", default "mean"

    Raises
    ------
    InputError
        If the temperature is not finite and > 0; in `forward`, if the shapes do not fit.

    Notes
    -----
    Outputs are vectors (batch, features), targets classes (batch,): any whole numbers from 0, not
    one for each output. **A batch is what is compared**: every sample with all others of its batch,
    so that the loss depends on the batch size and on the order of the rows, and needs memory for
    (batch, batch) numbers. Samples without another one of their class count neither in the sum nor
    in the divisor of the mean, but the others are drawn apart from them; so are those with the
    sample weight 0. If no class occurs twice, the loss of the batch is 0. A vector of zeros has the
    similarity 0 to all others, and no gradient.

    Two views of each sample, with the number of the sample as the class, give the loss of SimCLR.
    Khosla et al., "Supervised Contrastive Learning", 2020, equation 2; Chen et al., "A Simple
    Framework for Contrastive Learning of Visual Representations", 2020, equation 1.

    Examples
    --------
    >>> import numpy as np
    >>> from bp_arrays.layers import Context
    >>> y, t = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), np.array([0, 0, 1])
    >>> value, backward = Contrastive(1.0).forward(y, t, Context(np))
    >>> round(float(value), 4)  # −log(e / (e + 1)), of two samples
    0.3133
    """

    temperature: float = 0.1

    takes_classes: ClassVar[bool] = True
    compares_samples: ClassVar[bool] = True
    explainable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "temperature", above=0.0)

    def per_sample(self, y: Array, t: Array, ctx: Context) -> PerSample:
        xp, tau = ctx.xp, self.temperature
        z, of_length = unit_vectors(y, xp)
        others, positive = self._pairs(t, y, ctx)
        s = (z @ z.T) / tau  # (batch, batch)
        shifted = s - xp.max(xp.where(others, s, -2.0 / tau), axis=1, keepdims=True)
        e = xp.exp(xp.where(others, shifted, 0.0))
        e = xp.where(others, e, 0.0)
        total = xp.sum(e, axis=1, keepdims=True)
        total = xp.where(total > 0.0, total, 1.0)  # a batch of one
        m = xp.sum(positive, axis=1, keepdims=True)
        q = positive / xp.where(m > 0.0, m, 1.0)
        log_p = xp.where(others, shifted, 0.0) - xp.log(total)

        def derivative(c: Array) -> Array:
            p = xp.where(m > 0.0, e / total, 0.0)
            by_s = (c / tau) * (p - q)
            return of_length(by_s @ z + by_s.T @ z)  # s_ij belongs to z_i and to z_j

        return -xp.sum(q * log_p, axis=1), derivative

    def _pairs(self, t: Array, y: Array, ctx: Context) -> tuple[Array, Array]:
        """Return the mask of pairs of different samples, and 1 for those of them of one class."""
        xp = ctx.xp
        number = xp.arange(t.shape[0], device=ctx.device, dtype=t.dtype)
        others = xp.reshape(number, (-1, 1)) != number
        same = xp.reshape(t, (-1, 1)) == t
        return others, xp.astype(xp.logical_and(others, same), y.dtype)

    def sample_weights(
        self, t: Array, y: Array, ctx: Context, weight: Array | None
    ) -> Array | None:
        _, positive = self._pairs(t, y, ctx)
        has_positive = ctx.xp.max(positive, axis=1)
        return has_positive if weight is None else has_positive * weight

    def target_classes(self, y: Shape) -> int | None:
        return None

    def check_shapes(self, y: Shape, t: Shape) -> None:
        if len(y) != 2:
            raise array_error("Contrastive", "y", "vectors (batch, features)", y)
        if t != y[:1]:
            raise array_error("Contrastive", "t", f"classes {y[:1]}", t)

"""`L2Penalty`: a penalty on large weights, as part of the training loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.checks import check_number
from bp_arrays.kernels import narrowed, widened
from bp_arrays.model import Model, Penalty
from bp_arrays.typing import Array, Namespace


@dataclass(frozen=True)
class L2Penalty:
    """The penalty α/2 Σ w², added to the sum of a batch's losses; w are the weights, not biases.

        L = (Σ_i c_i ℓ_i + α/2 Σ w²) / Σ c_i        added to ∂L/∂w: α w / Σ c_i

    with the sample weights c_i, by default 1: the penalty counts once, whatever the number of
    samples. For the reduction "sum" there is no divisor. A weight is a trainable parameter of two
    or more dimensions.

    Parameters
    ----------
    strength : float
        α, >= 0.

    Raises
    ------
    InputError
        If the strength is not finite and >= 0.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.Linear(1, bias=False), input_shape=(1,), device="cpu", dtype="float64")
    >>> _ = bp.fit(model, [[1.0]], [[3.0]], loss=bp.L2Loss(), optimizer=bp.SGD(0.1),
    ...            penalty=bp.L2Penalty(0.5), epochs=200)
    >>> model.parameters["weight"].round(6).tolist()  # the minimum of (w - 3)²/2 + w²/4
    [[2.0]]
    """

    strength: float

    def __post_init__(self) -> None:
        check_number(self, "strength", at_least=0.0)

    def on(self, model: Model) -> Penalty:
        """Return the penalty as a function of θ of this model."""
        is_weight = np.concatenate(
            [np.full(e.size, float(len(e.shape) > 1)) for e in model.layout.trainable]
        )
        alpha = self.strength
        mask = model.device.asarray(is_weight, model.dtype)

        def penalize(theta: Array, total: Any, xp: Namespace) -> tuple[Array, Array]:
            w = widened(mask * theta, xp)  # the squares of a model in float16 would overflow
            if not isinstance(total, float):  # not 0 / 0 for a batch of total weight 0
                total = xp.where(total > 0.0, total, 1.0)
            gradient = alpha * w / total
            value = (0.5 * alpha) * xp.sum(w * w) / total
            return value, narrowed(gradient, theta.dtype, xp)

        return penalize

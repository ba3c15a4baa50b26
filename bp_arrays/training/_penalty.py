"""A penalty on large weights, as a part of the loss that is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.checks import check_number
from bp_arrays.model import Model, Penalty
from bp_arrays.typing import Array, Namespace


@dataclass(frozen=True)
class L2Penalty:
    """Adds α/2 Σ w² to the sum of a batch's losses; w are the weights, biases are left alone.

        L = (Σ_i c_i ℓ_i + α/2 Σ w²) / Σ c_i        ∂L/∂w grows by α w / Σ c_i

    with c_i the sample weights, 1 without any: the penalty counts once, however many samples
    the mean is over. Where the loss only adds up, nothing is divided. A weight is a trainable
    parameter of two or more dimensions.

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
    >>> model.parameters["weight"].round(6).tolist()  # where (w - 3)²/2 + w²/4 is least
    [[2.0]]
    """

    strength: float

    def __post_init__(self) -> None:
        check_number(self, "strength", at_least=0.0)

    def on(self, model: Model) -> Penalty:
        """The penalty as a function of the flat vector of this model's parameters."""
        chosen = np.concatenate(
            [np.full(e.size, float(len(e.shape) > 1)) for e in model.layout.trainable]
        )
        alpha = self.strength
        mask = model.device.asarray(chosen, model.dtype)

        def penalize(theta: Array, total: Any, xp: Namespace) -> tuple[Array, Array]:
            w = mask * theta
            if not isinstance(total, float):  # a batch in which no sample counts: not 0 / 0
                total = xp.where(total > 0.0, total, 1.0)
            return (0.5 * alpha) * xp.sum(w * w) / total, alpha * w / total

        return penalize

"""SGD and Adam in the forms that scikit-learn's MLP uses.

They differ from `bp.SGD` and `bp.Adam` by rounding, by the effect of a new learning rate on the
velocity, and by the position of ε. With the same seed they give scikit-learn's weights. They belong
to the estimators, and are in this room because they are stored in model files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bp_arrays.optimizers._adam import Adam, one_minus_power
from bp_arrays.optimizers._optimizer import Optimizer, Scalars, State
from bp_arrays.typing import Array, Namespace


@dataclass(frozen=True)
class ClassicalMomentum(Optimizer):
    """Gradient descent with momentum; the velocity includes the learning rate of each past step.

        v ← μ v − η g
        θ ← θ + v                with Nesterov's look ahead: θ ← θ + μ v − η g

    Source: Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum
    in deep learning", ICML 2013, equations 1 and 2.
    """

    momentum: float = 0.9
    nesterov: bool = True

    def init(self, theta: Array, xp: Namespace) -> State:
        return (xp.zeros_like(theta),)

    def update(
        self, theta: Array, g: Array, state: State, scalars: Scalars, xp: Namespace
    ) -> tuple[Array, State]:
        ((v,), (eta,)) = state, scalars
        v = self.momentum * v - eta * g
        step = self.momentum * v - eta * g if self.nesterov else v
        return theta + step, (v,)


@dataclass(frozen=True)
class AdamEpsilonHat(Adam):
    """Adam with the bias corrections in the learning rate: ε̂ is added to the uncorrected √v.

        θ ← θ − η √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε̂)

    Source: Kingma, Ba, "Adam: a method for stochastic optimization", ICLR 2015, the end of
    section 2.
    """

    def scalars(self, step: int, eta: float) -> tuple[float, ...]:
        c1, c2 = (one_minus_power(beta, step) for beta in (self.beta1, self.beta2))
        return (eta * math.sqrt(c2) / c1,)

    def update(
        self, theta: Array, g: Array, state: State, scalars: Scalars, xp: Namespace
    ) -> tuple[Array, State]:
        ((m, v), (eta,)) = state, scalars
        m = self.beta1 * m + (1.0 - self.beta1) * g
        v = self.beta2 * v + (1.0 - self.beta2) * (g * g)
        return theta - eta * m / (xp.sqrt(v) + self.epsilon), (m, v)

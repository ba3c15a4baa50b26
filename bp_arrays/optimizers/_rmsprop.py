"""RMSProp: steps scaled by a running root mean square of the gradient."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.checks import check_number
from bp_arrays.optimizers._optimizer import Optimizer, Scalars, State, zeros_like
from bp_arrays.optimizers._precision import in_float32
from bp_arrays.schedules import Schedule
from bp_arrays.typing import Array, Namespace


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """Gradient descent divided by a running root mean square of the gradient.

        v ← ρ v + (1 − ρ) g²
        u = g / (√v + ε)
        θ ← θ − η u              with momentum: b ← μ b + u,  θ ← θ − η b

    The defaults, and ε outside the root, are those of PyTorch; the lecture has ρ = 0.9.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.01
        η, > 0.
    decay : float, default 0.99
        ρ in [0, 1), the decay rate of the running mean.
    epsilon : float, default 1e-8
        ε > 0, keeps the division finite.
    momentum : float, default 0.0
        μ in [0, 1).

    Raises
    ------
    InputError
        If a parameter is out of its range.

    Notes
    -----
    Tieleman, Hinton, "Lecture 6.5: rmsprop", Neural networks for machine learning, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> theta, (v,) = RMSProp(decay=0.75).update(np.ones(1), np.ones(1), (np.zeros(1),), (0.1,), np)
    >>> theta.round(6).tolist(), v.tolist()
    ([0.8], [0.25])
    """

    learning_rate: float | Schedule = 0.01
    decay: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "decay", at_least=0.0, below=1.0)
        check_number(self, "epsilon", above=0.0)
        check_number(self, "momentum", at_least=0.0, below=1.0)

    def init(self, theta: Array, xp: Namespace) -> State:
        v = zeros_like(theta, xp)
        return (v, zeros_like(theta, xp)) if self.momentum else (v,)

    @in_float32
    def update(
        self, theta: Array, g: Array, state: State, scalars: Scalars, xp: Namespace
    ) -> tuple[Array, State]:
        (eta,) = scalars
        v = self.decay * state[0] + (1.0 - self.decay) * (g * g)
        u = g / (xp.sqrt(v) + self.epsilon)
        if not self.momentum:
            return theta - eta * u, (v,)
        b = self.momentum * state[1] + u
        return theta - eta * b, (v, b)

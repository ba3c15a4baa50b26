"""Adam, and AdamW with decoupled weight decay."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bp_arrays.checks import check_number
from bp_arrays.optimizers._optimizer import Optimizer, Scalars, State, zeros_like
from bp_arrays.optimizers._precision import in_float32
from bp_arrays.schedules import Schedule
from bp_arrays.typing import Array, Namespace


@dataclass(frozen=True)
class Adam(Optimizer):
    """Gradient descent along running means of the gradient and of its square.

        m ← β₁ m + (1 − β₁) g              m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²             v̂ = v / (1 − β₂ᵗ)
        θ ← θ − η m̂ / (√v̂ + ε)

    Both means start at zero; the divisions correct their bias toward zero.

    Parameters
    ----------
    learning_rate : float or Schedule, default 1e-3
        η, > 0.
    beta1 : float, default 0.9
        β₁ in [0, 1), the decay rate of the mean of g.
    beta2 : float, default 0.999
        β₂ in [0, 1), the decay rate of the mean of g².
    epsilon : float, default 1e-8
        ε > 0, keeps the division finite.

    Raises
    ------
    InputError
        If a parameter is out of its range.

    Notes
    -----
    Kingma, Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> adam, zero = Adam(0.1), np.zeros(1)
    >>> theta, state = adam.update(np.ones(1), np.ones(1), (zero, zero), adam.scalars(1, 0.1), np)
    >>> theta.round(6).tolist()
    [0.9]
    """

    learning_rate: float | Schedule = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "beta1", at_least=0.0, below=1.0)
        check_number(self, "beta2", at_least=0.0, below=1.0)
        check_number(self, "epsilon", above=0.0)

    def init(self, theta: Array, xp: Namespace) -> State:
        return zeros_like(theta, xp), zeros_like(theta, xp)

    def scalars(self, step: int, eta: float) -> tuple[float, ...]:
        """Return (η, c₁, c₂), with the bias corrections cᵢ = 1 / (1 − βᵢᵗ) of update t = step."""
        return eta, 1.0 / one_minus_power(self.beta1, step), 1.0 / one_minus_power(self.beta2, step)

    @in_float32
    def update(
        self, theta: Array, g: Array, state: State, scalars: Scalars, xp: Namespace
    ) -> tuple[Array, State]:
        eta, c1, c2 = scalars
        m, v = state
        m = self.beta1 * m + (1.0 - self.beta1) * g
        v = self.beta2 * v + (1.0 - self.beta2) * (g * g)
        m_hat = c1 * m
        v_hat = c2 * v
        return theta - eta * m_hat / (xp.sqrt(v_hat) + self.epsilon), (m, v)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay: θ ← θ − η (m̂ / (√v̂ + ε) + λ θ).

    The decay is not part of the gradient, so it is not divided by √v̂. As in PyTorch it is
    multiplied by the whole learning rate η; in the paper only by the multiplier of the schedule.
    Every parameter is decayed, biases too.

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon
        As for Adam.
    weight_decay : float, default 0.01
        λ >= 0.

    Raises
    ------
    InputError
        If a parameter is out of its range.

    Notes
    -----
    Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> adamw, zero = AdamW(0.1, weight_decay=0.5), np.zeros(1)
    >>> theta, state = adamw.update(np.ones(1), zero, (zero, zero), adamw.scalars(1, 0.1), np)
    >>> theta.tolist()
    [0.95]
    """

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "weight_decay", at_least=0.0)

    @in_float32
    def update(
        self, theta: Array, g: Array, state: State, scalars: Scalars, xp: Namespace
    ) -> tuple[Array, State]:
        updated, state = super().update(theta, g, state, scalars, xp)
        eta = scalars[0]
        return updated - eta * self.weight_decay * theta, state


def one_minus_power(beta: float, t: int) -> float:
    """Return 1 − βᵗ as −expm1(t log β), which does not cancel for β near 1."""
    return -math.expm1(t * math.log(beta)) if beta > 0.0 else 1.0

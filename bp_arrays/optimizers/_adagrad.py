"""Adagrad: steps scaled by the sum of all past squared gradients."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.checks import check_number
from bp_arrays.optimizers._optimizer import Optimizer, Scalars, State, zeros_like
from bp_arrays.optimizers._precision import in_float32
from bp_arrays.schedules import Schedule
from bp_arrays.typing import Array, Namespace


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Gradient descent divided by the root of the sum of all squared gradients.

        s ← s + g²
        θ ← θ − η g / (√s + ε)

    ε and the defaults are those of PyTorch; the paper adds a δ in the same position.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.01
        η, > 0.
    epsilon : float, default 1e-10
        ε > 0, keeps the division finite.

    Raises
    ------
    InputError
        If a parameter is out of its range.

    Notes
    -----
    Duchi, Hazan, Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", JMLR 12 (2011), figure 1.

    Examples
    --------
    >>> import numpy as np
    >>> theta, (s,) = Adagrad().update(np.ones(1), 2 * np.ones(1), (np.zeros(1),), (0.1,), np)
    >>> theta.round(6).tolist(), s.tolist()
    ([0.9], [4.0])
    """

    learning_rate: float | Schedule = 0.01
    epsilon: float = 1e-10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "epsilon", above=0.0)

    def init(self, theta: Array, xp: Namespace) -> State:
        return (zeros_like(theta, xp),)

    @in_float32
    def update(
        self, theta: Array, g: Array, state: State, scalars: Scalars, xp: Namespace
    ) -> tuple[Array, State]:
        (eta,) = scalars
        (s,) = state
        s = s + g * g
        return theta - eta * g / (xp.sqrt(s) + self.epsilon), (s,)

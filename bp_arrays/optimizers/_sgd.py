"""Stochastic gradient descent, with and without momentum."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.checks import argument_error, check_bool, check_number
from bp_arrays.optimizers._optimizer import Optimizer, Scalars, State, zeros_like
from bp_arrays.optimizers._precision import in_float32
from bp_arrays.schedules import Schedule
from bp_arrays.typing import Array, Namespace


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent with optional momentum.

        b ← μ b + g
        θ ← θ − η b              with Nesterov momentum: θ ← θ − η (g + μ b)

    Without momentum (μ = 0) this is θ ← θ − η g, and there is no state. The learning rate
    multiplies the velocity b and is not part of it, as in PyTorch; in Sutskever et al. it is part
    of b, which differs when η changes.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.01
        η, > 0.
    momentum : float, default 0.0
        μ in [0, 1).
    nesterov : bool, default False
        Look ahead along the velocity; needs momentum > 0.

    Raises
    ------
    InputError
        If a parameter is out of its range, or nesterov is True without momentum.

    Notes
    -----
    Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in
    deep learning", ICML 2013.

    Examples
    --------
    >>> import numpy as np
    >>> theta, state = SGD(0.5).update(np.ones(2), np.ones(2), (), (0.5,), np)
    >>> theta.tolist()
    [0.5, 0.5]
    """

    learning_rate: float | Schedule = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "momentum", at_least=0.0, below=1.0)
        check_bool(self, "nesterov")
        if self.nesterov and self.momentum == 0.0:
            raise argument_error("SGD", "momentum", 0.0, "momentum > 0 with nesterov=True")

    def init(self, theta: Array, xp: Namespace) -> State:
        return (zeros_like(theta, xp),) if self.momentum else ()

    @in_float32
    def update(
        self, theta: Array, g: Array, state: State, scalars: Scalars, xp: Namespace
    ) -> tuple[Array, State]:
        (eta,) = scalars
        if not self.momentum:
            return theta - eta * g, ()
        (b,) = state
        b = self.momentum * b + g
        direction = g + self.momentum * b if self.nesterov else b
        return theta - eta * direction, (b,)

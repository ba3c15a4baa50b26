"""`Optimizer`: the contract of an update rule on one flat vector of parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from bp_arrays.checks import check_number
from bp_arrays.kernels import wide_dtype
from bp_arrays.schedules import Schedule
from bp_arrays.typing import Array, Namespace

State = tuple[Array, ...]
"""State of an optimizer between updates: vectors of the shape of theta, and of its dtype, or
float32 if that is half precision."""

Scalars = tuple[float | Array, ...]
"""Numbers that change with every update: Python floats, or 0-d arrays of the state's dtype."""


@dataclass(frozen=True)
class Optimizer(ABC):
    """Base class of update rules, which hold no arrays. One update is

        eta = optimizer.rate(updates_so_far, monitored)
        scalars = optimizer.scalars(updates_so_far + 1, eta)
        theta, state = optimizer.update(theta, g, state, scalars, xp)

    The first two lines run in Python, in double precision; the third may be compiled.

    Parameters
    ----------
    learning_rate : float or Schedule
        Finite and > 0, or a function of the update.

    Raises
    ------
    InputError
        If the learning rate is neither; every subclass also checks its own parameters.
    """

    learning_rate: float | Schedule

    def __post_init__(self) -> None:
        if not isinstance(self.learning_rate, Schedule):
            check_number(self, "learning_rate", above=0.0)

    @property
    def elementwise(self) -> bool:
        """True if element i of an update depends on element i of its arguments only."""
        return True

    def rate(self, step: int, monitored: Sequence[float] = ()) -> float:
        """Return the learning rate of the update after the first `step` ones.

        Parameters
        ----------
        step : int
            Number of updates so far: 0 for the first.
        monitored : sequence of float
            The monitored loss of each epoch so far, for ReduceOnPlateau.
        """
        if isinstance(self.learning_rate, Schedule):
            return self.learning_rate(step, monitored)
        return self.learning_rate

    def init(self, theta: Array, xp: Namespace) -> State:
        """Return the state before the first update; empty for a rule without state.

        Parameters
        ----------
        theta : array (parameters,)
            The flat vector of parameters.
        xp : namespace
            Its array namespace.
        """
        return ()

    def scalars(self, step: int, eta: float) -> tuple[float, ...]:
        """Return the numbers of one update that are the same for all parameters.

        Parameters
        ----------
        step : int
            The number of the update, counted from 1 as in the papers.
        eta : float
            Its learning rate.
        """
        return (eta,)

    @abstractmethod
    def update(
        self, theta: Array, g: Array, state: State, scalars: Scalars, xp: Namespace
    ) -> tuple[Array, State]:
        """Compute one update; a pure function, which does not change its arguments.

        Parameters
        ----------
        theta, g : arrays (parameters,)
            The parameters and the gradient of the loss, of equal dtype.
        state : tuple of arrays
            As returned by `init` or the previous update.
        scalars : tuple
            As returned by `scalars`: Python floats, or 0-d arrays of the state's dtype.
        xp : namespace
            Their array namespace.

        Returns
        -------
        theta : array (parameters,)
            The updated parameters.
        state : tuple of arrays
            For the next update.
        """


def zeros_like(theta: Array, xp: Namespace) -> Array:
    """Return zeros of the shape of theta, in float32 if it is in half precision."""
    return xp.zeros_like(theta, dtype=wide_dtype(theta, xp))

"""What an optimizer is: a description of an update rule on one flat vector of parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from bp_arrays.checks import check_number
from bp_arrays.schedules import Schedule
from bp_arrays.typing import Array, Namespace

State = tuple[Array, ...]
"""What an optimizer remembers between updates: vectors of the shape and dtype of theta."""

Scalars = tuple[float | Array, ...]
"""What changes from update to update: Python floats, or 0-d arrays of theta's dtype."""


@dataclass(frozen=True)
class Optimizer(ABC):
    """An update rule; holds no arrays. One update is

        eta = optimizer.rate(updates_so_far, monitored)
        scalars = optimizer.scalars(updates_so_far + 1, eta)
        theta, state = optimizer.update(theta, g, state, scalars, xp)

    The first two lines are host Python in double precision; the third is the function that is
    handed to a compiler.

    Parameters
    ----------
    learning_rate : float or Schedule
        Finite and > 0, or a function of the update.

    Raises
    ------
    InputError
        If the learning rate is neither; every subclass checks its own parameters as well.
    """

    learning_rate: float | Schedule

    def __post_init__(self) -> None:
        if not isinstance(self.learning_rate, Schedule):
            check_number(self, "learning_rate", above=0.0)

    @property
    def elementwise(self) -> bool:
        """Whether element i of an update depends on no other element than i."""
        return True

    def rate(self, step: int, monitored: Sequence[float] = ()) -> float:
        """The learning rate of the update that follows `step` others.

        Parameters
        ----------
        step : int
            Updates made so far: 0 for the first.
        monitored : sequence of float
            The monitored loss of every epoch so far, for ReduceOnPlateau.
        """
        if isinstance(self.learning_rate, Schedule):
            return self.learning_rate(step, monitored)
        return self.learning_rate

    def init(self, theta: Array, xp: Namespace) -> State:
        """The state before the first update; empty for a rule that remembers nothing.

        Parameters
        ----------
        theta : array (parameters,)
            The flat vector of parameters.
        xp : namespace
            Its array namespace.
        """
        return ()

    def scalars(self, step: int, eta: float) -> tuple[float, ...]:
        """The numbers of one update that are the same for every parameter.

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
        """One update, a pure function: nothing handed in is changed.

        Parameters
        ----------
        theta, g : arrays (parameters,)
            The parameters and the gradient of the loss, of equal dtype.
        state : tuple of arrays
            What `init` or the update before gave, same shapes and dtype.
        scalars : tuple
            What `scalars` gave, as Python floats or as 0-d arrays of theta's dtype.
        xp : namespace
            Their array namespace.

        Returns
        -------
        theta : array (parameters,)
            The moved parameters.
        state : tuple of arrays
            For the next update.
        """

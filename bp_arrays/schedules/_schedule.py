"""`Schedule`: the contract of a learning-rate schedule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule(ABC):
    """Base class of schedules: the learning rate as a function of the update, without state.

    A schedule counts updates, not epochs: one epoch is ceil(samples / batch size) updates.
    It runs on the host in Python floats. After its last step a finite schedule returns its last
    value.
    """

    @abstractmethod
    def __call__(self, step: int, monitored: Sequence[float] = ()) -> float:
        """Return the learning rate of one update.

        Parameters
        ----------
        step : int
            The number of updates before this one: 0 for the first.
        monitored : sequence of float
            The values of the monitored loss so far, one per epoch, oldest first; only
            ReduceOnPlateau uses them.

        Returns
        -------
        float >= 0
        """

"""What a learning-rate schedule is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule(ABC):
    """The learning rate as a function of the update; a description without state.

    A schedule counts updates, not epochs: one epoch is ceil(samples / batch size) of them.
    It runs on the host in Python floats. Beyond its last step a finite schedule keeps its last
    value.
    """

    @abstractmethod
    def __call__(self, step: int, monitored: Sequence[float] = ()) -> float:
        """The learning rate of one update.

        Parameters
        ----------
        step : int
            How many updates were made before this one: 0 for the first.
        monitored : sequence of float
            The values of the monitored loss so far, one an epoch, oldest first; only
            ReduceOnPlateau looks at them.

        Returns
        -------
        float >= 0
        """

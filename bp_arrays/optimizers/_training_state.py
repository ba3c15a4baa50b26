"""`TrainingState`: the state from which training continues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from bp_arrays.devices import Device, name_of_dtype
from bp_arrays.optimizers._optimizer import Optimizer


class BestSoFar(NamedTuple):
    """The best value of a monitored series, that of the parameters which the model has now.

    Parameters
    ----------
    series : str
    cost : float
        The value, or minus the value if larger is better.
    maximize : bool
    step : int
        The number of updates when it was recorded: after another update it says nothing.
    """

    series: str
    cost: float
    maximize: bool
    step: int


@dataclass(frozen=True)
class TrainingState:
    """The optimizer, its state and the counts of updates and epochs; stored in the model.

    Parameters
    ----------
    optimizer : Optimizer
        The object passed to `fit`; if it is passed again, training continues.
    vectors : tuple of arrays
        The optimizer's state, such as Adam's moments, each of the length of θ.
    step : int
        Number of updates so far.
    epoch : int
        Number of epochs so far.
    monitored : tuple of float
        The monitored loss of each epoch so far, for learning rates that depend on it.
    history : mapping of str to sequence of float
        The series of all epochs so far, over all calls of `fit`; `bp.History(history)` draws them.
    best : BestSoFar, optional
        Of `EarlyStopping`, so that it knows the best of the calls before.
    averaged : bool, default False
        Whether the model has the averages of `EMA` now; its trained parameters are then the last
        of the vectors.
    """

    optimizer: Optimizer
    vectors: tuple[Any, ...]
    step: int = 0
    epoch: int = 0
    monitored: tuple[float, ...] = ()
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    best: BestSoFar | None = None
    averaged: bool = False

    def moved_to(self, device: Device, dtype: str) -> TrainingState:
        """Return the same state on another device, for θ of this dtype.

        Each vector has the dtype that the optimizer chooses, such as float32 in half precision.
        """
        with device.activate():
            new = self.optimizer.init(device.asarray([0.0], dtype), device.xp)
        pairs = zip(self.vectors, new, strict=True)
        vectors = tuple(device.asarray(v, name_of_dtype(zero.dtype)) for v, zero in pairs)
        return replace(self, vectors=vectors)

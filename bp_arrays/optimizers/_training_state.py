"""`TrainingState`: the state from which training continues."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bp_arrays.devices import Device, name_of_dtype
from bp_arrays.optimizers._optimizer import Optimizer


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
    """

    optimizer: Optimizer
    vectors: tuple[Any, ...]
    step: int = 0
    epoch: int = 0
    monitored: tuple[float, ...] = ()

    def moved_to(self, device: Device, dtype: str) -> TrainingState:
        """Return the same state on another device, for θ of this dtype.

        Each vector has the dtype that the optimizer chooses, such as float32 in half precision.
        """
        with device.activate():
            new = self.optimizer.init(device.asarray([0.0], dtype), device.xp)
        pairs = zip(self.vectors, new, strict=True)
        vectors = tuple(device.asarray(v, name_of_dtype(zero.dtype)) for v, zero in pairs)
        return replace(self, vectors=vectors)

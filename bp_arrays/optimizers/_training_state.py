"""What a training must remember to go on where it stopped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bp_arrays.devices import Device
from bp_arrays.optimizers._optimizer import Optimizer


@dataclass(frozen=True)
class TrainingState:
    """The optimizer and how far it came; kept by the model, moved with it.

    Parameters
    ----------
    optimizer : Optimizer
        The object handed to `fit`; the same object again means: go on.
    vectors : tuple of arrays
        The optimizer's own state, such as Adam's moments, each of the length of θ.
    step : int
        Updates done so far.
    epoch : int
        Epochs done so far.
    monitored : tuple of float
        The loss of each epoch so far, for rates that depend on it.
    """

    optimizer: Optimizer
    vectors: tuple[Any, ...]
    step: int = 0
    epoch: int = 0
    monitored: tuple[float, ...] = ()

    def moved_to(self, device: Device, dtype: str) -> TrainingState:
        """The same state with its vectors on another device."""
        return replace(self, vectors=tuple(device.asarray(v, dtype) for v in self.vectors))

"""`TrainingState`: the state from which training continues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from bp_arrays.devices import Device, name_of_dtype
from bp_arrays.optimizers._loss_scaling import first_scaling, new_epoch, scales_loss
from bp_arrays.optimizers._optimizer import Optimizer
from bp_arrays.typing import Array


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
    loss_scaling : array (4,) in float32, optional
        Of a model with the compute dtype float16: the scale of the loss, the number of steps since
        it changed, the number of skipped steps, and that before the present epoch. A skipped step
        counts as an update in `step`, for the schedule, and in Adam's bias corrections.
    """

    optimizer: Optimizer
    vectors: tuple[Any, ...]
    step: int = 0
    epoch: int = 0
    monitored: tuple[float, ...] = ()
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    best: BestSoFar | None = None
    averaged: bool = False
    loss_scaling: Any = None

    @classmethod
    def first(
        cls, optimizer: Optimizer, theta: Array, device: Device, compute_dtype: str | None
    ) -> TrainingState:
        """Return the state before the first update of θ, for a model of this compute dtype."""
        with device.activate():
            vectors = optimizer.init(theta, device.xp)
        return cls(optimizer, vectors, loss_scaling=_first_scaling(device, compute_dtype))

    @property
    def arrays(self) -> tuple[Any, ...]:
        """The vectors and, if there is one, the state of loss scaling: what a step changes."""
        return self.vectors if self.loss_scaling is None else (*self.vectors, self.loss_scaling)

    def after(self, arrays: tuple[Any, ...], step: int) -> TrainingState:
        """Return the state after `step` updates, with these `arrays`."""
        if self.loss_scaling is None:
            return replace(self, vectors=arrays, step=step)
        *vectors, scaling = arrays
        return replace(self, vectors=tuple(vectors), loss_scaling=scaling, step=step)

    @property
    def skipped_steps(self) -> int:
        """The number of steps skipped in the present epoch, as gradients overflowed in float16."""
        if self.loss_scaling is None:
            return 0
        return int(float(self.loss_scaling[2]) - float(self.loss_scaling[3]))

    def in_new_epoch(self, device: Device) -> TrainingState:
        """Return the state at the beginning of an epoch, whose skipped steps are counted from 0."""
        if self.loss_scaling is None:
            return self
        with device.activate():
            return replace(self, loss_scaling=new_epoch(self.loss_scaling, device.xp))

    def moved_to(
        self, device: Device, dtype: str, compute_dtype: str | None = None
    ) -> TrainingState:
        """Return the same state on another device, for θ of this dtype and compute dtype.

        Each vector has the dtype that the optimizer chooses, such as float32 in half precision.
        """
        with device.activate():
            new = self.optimizer.init(device.asarray([0.0], dtype), device.xp)
        pairs = zip(self.vectors, new, strict=True)
        vectors = tuple(device.asarray(v, name_of_dtype(zero.dtype)) for v, zero in pairs)
        scaling = _first_scaling(device, compute_dtype)
        if scaling is not None and self.loss_scaling is not None:
            scaling = device.asarray(self.loss_scaling, "float32")
        return replace(self, vectors=vectors, loss_scaling=scaling)


def _first_scaling(device: Device, compute_dtype: str | None) -> Any:
    """Return the first state of loss scaling; None for a dtype that needs none."""
    if not scales_loss(compute_dtype):
        return None
    with device.activate():
        return first_scaling(device.native, device.xp)

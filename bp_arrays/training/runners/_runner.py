"""What every way of training has in common: the optimizer's state, and how far it came."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

from bp_arrays.data import Feed
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.optimizers import Optimizer, TrainingState
from bp_arrays.training._metrics import Metric
from bp_arrays.training._penalty import L2Penalty
from bp_arrays.training._progress import Progress


class Trainer(ABC):
    """A model, a loss and an optimizer: the steps of a training and what they need to go on.

    Parameters
    ----------
    model : Model
        Its `training_state` is gone on with if it is of this optimizer, else begun.
    loss : Loss
    optimizer : Optimizer
    metrics : tuple of Metric
    seed : int
        For Dropout's masks.
    penalty : L2Penalty, optional
    """

    def __init__(
        self,
        model: Model,
        loss: Loss,
        optimizer: Optimizer,
        metrics: tuple[Metric, ...],
        seed: int,
        penalty: L2Penalty | None = None,
    ) -> None:
        self.model, self.loss, self.optimizer, self.metrics = model, loss, optimizer, metrics
        self.seed = seed
        self.penalize = None if penalty is None else penalty.on(model)
        state = model.training_state
        if state is None or state.optimizer is not optimizer:
            with model.device.activate():
                vectors = optimizer.init(model.vector, model.device.xp)
            model.training_state = TrainingState(optimizer, vectors)

    @property
    def state(self) -> TrainingState:
        """How far the training came."""
        state: TrainingState = self.model.training_state
        return state

    @property
    def compiled_by(self) -> str:
        """What runs each step as a whole; "" where operations run one by one."""
        return ""

    @abstractmethod
    def epoch(self, batches: Feed, batch_size: int, order: Any, bar: Progress) -> dict[str, float]:
        """Train on every batch once; returns the epoch's loss, metrics and last learning rate.

        Raises
        ------
        NonFiniteLossError
            The model then has the last parameters whose loss was finite.
        """

    def finish_epoch(self, monitored: float) -> None:
        """Count the epoch and remember its loss for rates that depend on it."""
        state = self.state
        self.model.training_state = replace(
            state, epoch=state.epoch + 1, monitored=(*state.monitored, monitored)
        )

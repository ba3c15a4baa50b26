"""What may look at a training, and stop it, at the end of each epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bp_arrays.errors import InputError
from bp_arrays.model import Model
from bp_arrays.training._history import History, monitored


@dataclass
class Run:
    """A training as its callbacks see it.

    Set `stopped` to a few words to end the training after this epoch.
    """

    model: Model
    history: History
    epochs: int
    stopped: str | None = None


class Callback:
    """Base of callbacks: override what you need."""

    def on_start(self, run: Run) -> None:
        """Before the first batch."""

    def on_epoch_end(self, run: Run) -> None:
        """After the epoch's values were recorded in `run.history`."""

    def on_end(self, run: Run) -> None:
        """After the last batch, also when the training was interrupted."""


class EarlyStopping(Callback):
    """Stop when the monitored value has not improved for some epochs; keep the best parameters.

    Parameters
    ----------
    patience : int, default 5
        How many epochs without improvement are waited for.
    monitor : str, optional
        A series of the history; by default "val_loss" with validation data, else "loss".
    min_delta : float, default 0.0
        How much better counts as better.
    maximize : bool, optional
        Whether larger is better; by default where the monitored series is not a loss.
    restore_best : bool, default True
        Whether the model ends with the parameters of its best epoch.

    Raises
    ------
    InputError
        For a patience under 1, or a series that the training does not record.

    Notes
    -----
    Prechelt, "Early Stopping - But When?", 1998.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> stopping = bp.EarlyStopping(patience=3, monitor="val_accuracy")
    """

    def __init__(
        self,
        patience: int = 5,
        monitor: str | None = None,
        min_delta: float = 0.0,
        maximize: bool | None = None,
        restore_best: bool = True,
    ) -> None:
        if patience < 1:
            raise InputError(f"EarlyStopping(patience): expected 1 or more, got {patience}")
        self.patience = patience
        self.monitor = monitor
        self.min_delta = float(min_delta)
        self.maximize = maximize
        self.restore_best = restore_best
        self.best_epoch: int | None = None
        self._best = math.inf
        self._best_vector: Any = None

    def on_start(self, run: Run) -> None:
        self.best_epoch, self._best, self._best_vector = None, math.inf, None

    def on_epoch_end(self, run: Run) -> None:
        _, values, sign = monitored(run.history, self.monitor, self.maximize)
        value = sign * values[-1]
        epoch = run.history.epochs
        if value < self._best - self.min_delta or self.best_epoch is None:
            self._best, self.best_epoch = value, epoch
            if self.restore_best:  # updates make new vectors, so this one stays as it is
                self._best_vector = run.model.vector
        elif epoch - self.best_epoch >= self.patience:
            run.stopped = "early stopping"

    def on_end(self, run: Run) -> None:
        if self._best_vector is not None and run.history.epochs != self.best_epoch:
            run.model.vector = self._best_vector
        self._best_vector = None

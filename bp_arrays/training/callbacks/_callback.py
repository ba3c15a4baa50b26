"""`Callback`, called at the start, after each epoch and at the end; `EarlyStopping`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from bp_arrays.checks import as_integer, as_number
from bp_arrays.errors import NonFiniteLossError
from bp_arrays.model import Model
from bp_arrays.optimizers import BestSoFar
from bp_arrays.training._history import History, cost, monitored


@dataclass
class Run:
    """The state of a training run that callbacks see.

    Set `stopped` to a short reason to stop training after this epoch; of several processes that
    train together, all stop.
    """

    model: Model
    history: History
    epochs: int
    stopped: str | None = None
    is_first_process: bool = True
    """Whether this process prints and writes files: of several that train together, one does."""


class Callback:
    """Base class of callbacks: override the methods you need."""

    def on_start(self, run: Run) -> None:
        """Called before the first batch."""

    def on_epoch_end(self, run: Run) -> None:
        """Called after the values of an epoch were recorded in `run.history`."""

    def on_end(self, run: Run) -> None:
        """Called after the last batch, and whenever training ends early: Ctrl-C, an error."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must keep of this callback, by name; by default nothing.

        Numbers, text, NumPy arrays of numbers, and lists and dicts of them. Called between two
        steps.
        """
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned; called after `on_start` in a resumed run.

        Tuples come back as lists.
        """


@contextmanager
def called_back(callbacks: Sequence[Callback], run: Run) -> Iterator[None]:
    """Call `on_start`, run the block, and call `on_end`, whatever ends the block.

    Ctrl-C ends it without an error. `run.history.stopped` is the reason if the block ended early.
    """
    started: list[Callback] = []
    begun = False
    try:
        for callback in callbacks:
            callback.on_start(run)
            started.append(callback)
        begun = True
        yield
    except KeyboardInterrupt:
        run.stopped = "interrupted"
        if not begun:  # there is no block to end
            raise
    except NonFiniteLossError:
        run.stopped = "not finite"
        raise
    except SystemExit:
        run.stopped = "terminated"
        raise
    except BaseException:
        run.stopped = "error"
        raise
    finally:
        run.history.stopped = run.stopped
        _end(started, run)


def _end(callbacks: Sequence[Callback], run: Run) -> None:
    """Call `on_end` of each; one that fails does not keep the others from it."""
    if callbacks:
        try:
            callbacks[0].on_end(run)
        finally:
            _end(callbacks[1:], run)


class EarlyStopping(Callback):
    """Stop when the monitored value has not improved for some epochs; restore the best parameters.

    They are restored whatever ends training: also Ctrl-C within an epoch, or a loss that is not
    finite. An epoch whose monitored value is NaN or infinite is never the best.

    If `fit` continues from the model's training state, also from a file, the best of the calls
    before is known: if no epoch is better, their parameters are restored, and `best_epoch` is
    None. Patience begins anew in each call, except where it resumes from a checkpoint.

    Parameters
    ----------
    patience : int, default 5
        Epochs without improvement before training stops.
    monitor : str, optional
        A series of the history; by default "val_loss" with validation data, else "loss".
    min_delta : float, default 0.0
        Smallest change that counts as an improvement.
    maximize : bool, optional
        Whether larger is better; by default unless the monitored series is a loss.
    restore_best : bool, default True
        Whether to restore the parameters of the best epoch at the end.

    Raises
    ------
    InputError
        For a patience below 1, or a series that is not recorded.

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
        self.patience = as_integer("EarlyStopping", "patience", patience, at_least=1)
        self.monitor = monitor
        self.min_delta = as_number("EarlyStopping", "min_delta", min_delta, at_least=0.0)
        self.maximize = maximize
        self.restore_best = restore_best
        self.best_epoch: int | None = None
        self._best = math.inf
        self._best_vectors: Any = None
        self._series: tuple[str, bool] | None = None  # what the best is of, and if larger is better
        self._model: Model

    def on_start(self, run: Run) -> None:
        self.best_epoch, self._best, self._best_vectors = None, math.inf, None
        self._series, self._model = None, run.model
        state = run.model.training_state
        best = None if state is None else state.best
        if best is not None and best.step == state.step and self.restore_best:
            self._best, self._series = best.cost, (best.series, best.maximize)
            self._best_vectors = run.model.vector, run.model.state_vector

    def on_epoch_end(self, run: Run) -> None:
        name, values, sign = monitored(run.history, self.monitor, self.maximize)
        value = cost(values[-1], sign)
        epoch = run.history.epochs
        if self._series not in (None, (name, sign < 0.0)):  # the best of an earlier call
            self._best, self._best_vectors = math.inf, None
        self._series = name, sign < 0.0
        if value < self._best - self.min_delta:
            self._best, self.best_epoch = value, epoch
            if self.restore_best:  # updates create new vectors: this one is not changed
                self._best_vectors = run.model.vector, run.model.state_vector
        elif epoch - (self.best_epoch or 0) >= self.patience:
            run.stopped = "early stopping"

    def on_end(self, run: Run) -> None:
        if self._best_vectors is None:
            return
        run.model.set_vectors(*self._best_vectors)
        self._best_vectors, state = None, run.model.training_state
        if self._series is None:
            return
        run.history.kept_epoch, run.history.kept_by = self.best_epoch, self._series[0]
        if state is not None:
            best = BestSoFar(self._series[0], self._best, self._series[1], state.step)
            run.model.training_state = replace(state, best=best)

    def state(self) -> dict[str, Any]:
        vectors = self._best_vectors
        if vectors is not None:
            vectors = list(map(self._model.device.to_numpy, vectors))
        return {
            "best_epoch": self.best_epoch,
            "best": self._best,
            "series": self._series,
            "vectors": vectors,
        }

    def restore(self, state: dict[str, Any]) -> None:
        device, dtype = self._model.device, self._model.dtype
        self.best_epoch, self._best, vectors = (state[k] for k in ("best_epoch", "best", "vectors"))
        self._series = None if state["series"] is None else tuple(state["series"])
        self._best_vectors = None
        if vectors is not None:
            self._best_vectors = tuple(device.asarray(vector, dtype) for vector in vectors)

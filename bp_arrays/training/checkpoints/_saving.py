"""`CheckpointPauses`: save the state of training between two steps, and continue from it."""

from __future__ import annotations

import logging
import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bp_arrays.data import Batch, fingerprint
from bp_arrays.errors import DataError, InputError
from bp_arrays.formats import (
    PREFIX,
    CheckpointContent,
    Header,
    encode_checkpoint,
    packed,
    unpacked,
)
from bp_arrays.model import Model
from bp_arrays.optimizers import Optimizer, TrainingState
from bp_arrays.training._described import described, same
from bp_arrays.training._evaluate import Sums
from bp_arrays.training._history import History, cost, monitored
from bp_arrays.training._interrupts import Interruptible
from bp_arrays.training._parts import SHARING
from bp_arrays.training._pauses import Pauses, batch_fingerprint
from bp_arrays.training.callbacks import Callback, Run
from bp_arrays.training.checkpoints._checkpoint import Checkpoint
from bp_arrays.training.checkpoints._folder import CheckpointFolder
from bp_arrays.training.checkpoints._settings import Setting, check_settings, to_json
from bp_arrays.typing import HostArray

logger = logging.getLogger("bp_arrays")


class Resumed(NamedTuple):
    """A checkpoint that was read and fits this training run.

    Parameters
    ----------
    path : Path
    values : mapping
        The state of training, arrays included.
    parameters : mapping of str to array
    """

    path: Path
    values: Mapping[str, Any]
    parameters: Mapping[str, HostArray]

    @classmethod
    def of(cls, path: Path, content: CheckpointContent) -> Resumed:
        """Return the values of the content of a checkpoint."""
        try:
            return cls(path, unpacked(content.training, content.arrays), content.parameters)
        except (KeyError, ValueError) as error:
            raise DataError(f"{path}: expected the state of training, got {error!r:.80}") from None

    @property
    def history(self) -> History:
        return History(self.values["history"])

    @property
    def position(self) -> Mapping[str, Any] | None:
        """The position in the epoch; None at the end of one."""
        position: Mapping[str, Any] | None = self.values["position"]
        return position

    def check(self, settings: list[Setting], epochs: int) -> None:
        """Raise InputError unless the settings are those of the checkpoint.

        With more epochs, the learning rate may follow another schedule.
        """
        done, stored = self.history.epochs, self.values["settings"]
        if epochs < done or (epochs == done and self.position is not None):
            raise InputError(
                f"fit(epochs={epochs}): expected at least the {done} epochs of the checkpoint "
                f"{self.path}; with resume, epochs counts from the beginning of training"
            )
        unchecked = {SHARING} if self.position is None else set()
        if epochs > self.values["epochs"]:
            today = next(described(s.value) for s in settings if s.name == "optimizer")
            if same(_without_rate(stored["optimizer"]["value"]), _without_rate(today)):
                unchecked.add("optimizer")
        check_settings(settings, stored, str(self.path), unchecked=unchecked)

    def apply(self, model: Model, optimizer: Optimizer) -> TrainingState:
        """Give the model the parameters of the checkpoint; return its training state."""
        model.set_parameters(self.parameters)
        values = self.values
        state = TrainingState(
            optimizer,
            tuple(values["vectors"]),
            int(values["step"]),
            int(values["epoch"]),
            tuple(float(value) for value in values["monitored"]),
            values["earlier"],
            averaged=bool(values.get("averaged", False)),
            loss_scaling=values.get("loss_scaling"),
        )
        return state.moved_to(model.device, model.dtype, model.compute_dtype)


def _without_rate(optimizer: Any) -> Any:
    """Return the description of an optimizer without its learning rate, in a chain too.

    And without the decay of an `EMA`, which may follow from the number of epochs as well.
    """
    if isinstance(optimizer, list):
        return [_without_rate(part) for part in optimizer]
    if isinstance(optimizer, Mapping):
        left_out = {"learning_rate", "decay"} if "optimizer" in optimizer else {"learning_rate"}
        return {k: _without_rate(v) for k, v in optimizer.items() if k not in left_out}
    return optimizer


class CheckpointPauses(Pauses):
    """The pauses of a training run that saves checkpoints.

    Parameters
    ----------
    interrupts : Interruptible
    checkpoint : Checkpoint
    folder : CheckpointFolder
    run : Run
    callbacks : sequence of Callback
    settings : list of Setting
    steps : int or None
        Batches per epoch, if it is known.
    """

    def __init__(
        self,
        interrupts: Interruptible,
        checkpoint: Checkpoint,
        folder: CheckpointFolder,
        run: Run,
        callbacks: Sequence[Callback],
        settings: list[Setting],
        steps: int | None,
    ) -> None:
        super().__init__(interrupts)
        self.folder, self.run, self.callbacks = folder, run, callbacks
        self.settings = to_json(settings)
        self.best_name, self.best = checkpoint.best, math.inf
        number, unit = checkpoint.interval
        if unit == "epoch" and number != int(number):
            if steps is None:
                raise InputError(
                    f"Checkpoint(every={checkpoint.every!r}): expected whole epochs for batches "
                    "whose number is unknown; count steps or minutes"
                )
            number, unit = max(1, round(number * steps)), "step"
        self.number, self.unit = number, unit
        self.timed = unit == "second"
        self._first_step = 0  # the number of updates before the epoch
        self.order: Any = None  # of the rows, if a function of the user chose it
        self.saved: tuple[int, int] | None = None  # step and epoch of the last checkpoint
        self._sums: Callable[[], Sums | None] = _no_sums
        self._started = time.perf_counter()
        self._schedule()

    def begin_epoch(self, order: Any) -> None:
        """Begin an epoch, or continue it after `start` batches."""
        self.order, self._started = order, time.perf_counter()
        self._first_step = self._step - self.start

    def begin(self, sums: Callable[[], Sums | None]) -> None:
        self._sums = sums

    def pause(self, batch: Batch | None = None) -> None:
        self._save_in_epoch(batch)
        self.interrupts.check()

    def in_validation(self) -> None:
        """Save and stop between two batches of the validation data, if that was asked for."""
        if self.interrupts.pending:
            self._save_in_epoch(None)
            self.interrupts.check()

    def end_epoch(self, *, last: bool) -> None:
        """Save what is due after the callbacks of an epoch; always after the last one.

        Raises
        ------
        KeyboardInterrupt, SystemExit
            After Ctrl-C, or SIGTERM.
        """
        super().end_epoch(last=last)
        content = None
        stops = bool(self.interrupts.pending)  # once: a signal may come while this runs
        best = self._is_best()
        epochs = self.run.history.epochs
        due = last or stops
        due = due or (self.unit == "epoch" and epochs % self.number == 0)
        due = due or (self.unit != "epoch" and self.is_due(self._step))
        if best or due:
            content = self._encode(None)
        if best and content is not None:
            self._written(lambda: self.folder.write_best(content))
        if due and content is not None:
            self._written(lambda: self.folder.write(self._step, content))
            self._schedule()
        if stops:
            self.interrupts.check()

    def restore(self, resumed: Resumed) -> None:
        """Continue where a checkpoint was saved."""
        values = resumed.values
        self.best = values["best"] if values["best_name"] == self.best_name else math.inf
        self._schedule()

    # -- saving ----------------------------------------------------------------------------------

    @property
    def _step(self) -> int:
        step: int = self.run.model.training_state.step
        return step

    def _schedule(self) -> None:
        """Compute when the next checkpoint is due."""
        state = self.run.model.training_state
        if self.unit == "step" and state is not None:
            self.next_step = (state.step // self.number + 1) * self.number
        elif self.unit == "second":
            self.next_time = time.monotonic() + self.number

    def _save_in_epoch(self, batch: Batch | None) -> None:
        model = self.run.model
        theta = model.device.to_numpy(model.current_vectors()[0])
        if np.isfinite(np.asarray(theta, np.float64)).all():
            sums = self._sums()
            position = {
                "batches": self._step - self._first_step,
                "sums": None if sums is None else list(sums),
                "batch": None if batch is None else batch_fingerprint(batch),
                "order": order_fingerprint(self.order),
                "seconds": self.seconds + time.perf_counter() - self._started,
            }
            content = self._encode(position)
            self._written(lambda: self.folder.write(self._step, content))
        # else the next loss stops training: what was saved before stays the newest
        self._schedule()

    def _is_best(self) -> bool:
        """Return whether the epoch just completed is the best so far, and note its value."""
        if self.best_name is None:
            return False
        _, values, sign = monitored(self.run.history, self.best_name)
        value = cost(values[-1], sign)
        is_best = value < self.best
        self.best = min(value, self.best)
        return is_best

    def _encode(self, position: Mapping[str, Any] | None) -> bytes:
        """Return the checkpoint of the present state."""
        from bp_arrays import __version__

        run, model = self.run, self.run.model
        state: TrainingState = model.training_state
        values = {
            "versions": {
                "bp_arrays": __version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
            "device": str(model.device),
            "settings": self.settings,
            "step": state.step,
            "epoch": state.epoch,
            "averaged": state.averaged,
            "epochs": run.epochs,
            "stopped": run.stopped,
            "monitored": np.asarray(state.monitored, np.float64),
            "vectors": [model.device.to_numpy(vector) for vector in state.vectors],
            "loss_scaling": None
            if state.loss_scaling is None
            else model.device.to_numpy(state.loss_scaling),
            "history": {name: np.asarray(v, np.float64) for name, v in run.history.items()},
            "earlier": {name: np.asarray(v, np.float64) for name, v in state.history.items()},
            "callbacks": [[type(c).__qualname__, c.state()] for c in self.callbacks],
            "position": position,
            "best_name": self.best_name,
            "best": self.best,
        }
        arrays: dict[str, HostArray] = {}
        training = {name: packed(v, f"{PREFIX}{name}", arrays) for name, v in values.items()}
        parameters = {
            name: np.ascontiguousarray(value).reshape(value.shape)
            for name, value in model.host_parameters().items()
        }
        return encode_checkpoint(_header(model), training, parameters, arrays)

    def _written(self, write: Callable[[], object]) -> None:
        """Write a checkpoint; a failure is reported, and training continues."""
        try:
            write()
        except (OSError, InputError) as error:
            reason = " ".join(str(getattr(error, "strerror", None) or error).split())
            logger.warning(
                "%s: the checkpoint after %d updates could not be written: %s; training "
                "continues, and the checkpoints before it stay",
                self.folder.path,
                self._step,
                reason,
            )


def _no_sums() -> Sums | None:
    return None


def _header(model: Model) -> Header | None:
    """Return the description of the model; None if it has none, as with some custom layers."""
    header = Header(
        model.net,
        model.inputs,
        model.dtype,
        int(model.seed),
        model.metadata,
        compute_dtype=model.compute_dtype,
    )
    try:
        header.to_json()
    except InputError:
        return None
    return header


def resume_position(pauses: Pauses, position: Mapping[str, Any] | None) -> None:
    """Let an epoch continue at a position; None for its beginning."""
    if position is None:
        return
    pauses.start = int(position["batches"])
    pauses.last_batch, pauses.seconds = position["batch"], float(position["seconds"])
    sums = position["sums"]
    if sums is not None:
        value, weight, measured = sums
        pauses.sums = (value, weight, tuple(tuple(parts) for parts in measured))


def restore_callbacks(callbacks: Sequence[Callback], resumed: Resumed) -> None:
    """Give each callback the state that the checkpoint has of it: the first of a class the first.

    A callback that is new starts over.
    """
    states = list(resumed.values["callbacks"])
    for callback in callbacks:
        name = type(callback).__qualname__
        for k, (kind, state) in enumerate(states):
            if kind == name:
                callback.restore(state)
                del states[k]
                break


def order_fingerprint(order: Any) -> str | None:
    """Return a text for the order of the rows of an epoch; None if the seed alone decides it."""
    return None if order is None else fingerprint(np.asarray(order))


def check_order(order: Any, position: Mapping[str, Any] | None, epoch: int) -> None:
    """Raise InputError if an epoch that continues has another order than before."""
    if position is not None and position["order"] != order_fingerprint(order):
        raise InputError(
            f"resume: expected the same order of the rows in epoch {epoch} as before, got "
            "another one; shuffle must be a function of the number of the epoch alone"
        )

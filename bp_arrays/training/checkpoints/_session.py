"""`Session`: what `fit` does about checkpoints, before, during and after training."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from bp_arrays.checks import argument_error
from bp_arrays.data import Feed
from bp_arrays.distributed import ProcessGroup
from bp_arrays.errors import InputError, unknown_name
from bp_arrays.training._interrupts import Interruptible
from bp_arrays.training._metrics import Metric
from bp_arrays.training._pauses import Pauses
from bp_arrays.training._trainer import Trainer
from bp_arrays.training.callbacks import Callback, Run
from bp_arrays.training.checkpoints._checkpoint import Checkpoint, folder_path
from bp_arrays.training.checkpoints._folder import (
    CheckpointFolder,
    check_unused,
    closing_folder,
    newest_intact,
)
from bp_arrays.training.checkpoints._saving import (
    CheckpointPauses,
    Resumed,
    check_order,
    restore_callbacks,
    resume_position,
)
from bp_arrays.training.checkpoints._settings import Setting

logger = logging.getLogger("bp_arrays")


def as_checkpoint(checkpoint: Any) -> Checkpoint | None:
    """Return the argument `checkpoint` of `fit`; a path stands for a Checkpoint of its defaults.

    Raises
    ------
    InputError
        If it is neither.
    """
    if checkpoint is None or isinstance(checkpoint, Checkpoint):
        return checkpoint
    if isinstance(checkpoint, (str, os.PathLike)):
        return Checkpoint(checkpoint)
    raise argument_error(
        "fit", "checkpoint", checkpoint, 'a bp.Checkpoint, such as Checkpoint("run/")'
    )


def recorded_series(metrics: Sequence[Metric], validation: Feed | None) -> list[str]:
    """Return the names of the series that training records and that have a best epoch."""
    names = ["loss", *(metric.name for metric in metrics)]
    return names if validation is None else [*names, *(f"val_{name}" for name in names)]


class Session:
    """The checkpoints of one call of `fit`.

    Parameters
    ----------
    trainer : Trainer
    run : Run
    callbacks : sequence of Callback
    checkpoint : Checkpoint, optional
    resume : path, optional
    steps : int or None
        Updates per epoch, if it is known.
    group : ProcessGroup, optional
        The processes that train together: the first one writes, all read.

    Attributes
    ----------
    earlier : mapping of str to sequence of float
        The series of earlier calls of `fit`.
    steps_before : int
        The number of steps that an interrupted run has made.
    """

    def __init__(
        self,
        trainer: Trainer,
        run: Run,
        callbacks: Sequence[Callback],
        checkpoint: Checkpoint | None,
        resume: Any,
        steps: int | None,
        group: ProcessGroup | None = None,
    ) -> None:
        self.group = group
        self.trainer, self.run, self.callbacks = trainer, run, callbacks
        self.checkpoint, self.steps = checkpoint, steps
        self.resume: Path | None = None if resume is None else folder_path("fit", "resume", resume)
        self.interrupts = Interruptible(terminable=checkpoint is not None)
        self.earlier: Mapping[str, Any] = {}
        self.steps_before = 0
        self._resumed: Resumed | None = None

    @contextmanager
    def opened(self, settings: Callable[[], list[Setting]], series: list[str]) -> Iterator[Pauses]:
        """Check the settings, read the checkpoint to resume from, and hold the folder.

        Raises
        ------
        InputError, DataError
            If a folder, its checkpoints or the settings are not as expected; nothing is changed.
        """
        with self._checked_together():
            opened = self._folder(series)
        with closing_folder(opened) as folder:
            current: list[Setting] = []
            if self.checkpoint is not None or self.resume is not None:
                current = settings()
            with self._checked_together():
                if self.resume is not None:
                    self._continue(self.resume, current, folder)
            if self.group is not None:
                self.group.require_same(checkpoint_to_resume_from=self._resumed_position())
                self._check_writer(self.group)
            self.earlier = self.trainer.model.training_state.history
            pauses = Pauses(self.interrupts)
            if folder is not None and self.checkpoint is not None:
                pauses = CheckpointPauses(
                    self.interrupts,
                    self.checkpoint,
                    folder,
                    self.run,
                    self.callbacks,
                    current,
                    self.steps,
                )
                if self._resumed is not None:
                    pauses.restore(self._resumed)
            pauses.measures = self.checkpoint is None and self.resume is None
            if self._resumed is not None:
                resume_position(pauses, self._resumed.position)
                if not self.run.is_first_process:
                    pauses.sums = None  # the first process has the sums of all
                self.steps_before = pauses.start + self.run.history.epochs * (self.steps or 0)
            yield pauses

    def _check_writer(self, group: ProcessGroup) -> None:
        """Raise InputError if process 0, which writes the checkpoints, is to write none."""
        wanted = group.gather(self.checkpoint is not None)
        if any(wanted) and not wanted[0]:
            raise InputError(
                "fit(checkpoint=): expected a Checkpoint in process 0, which writes them, got one "
                f"in process {wanted.index(True)} only; pass it in all processes"
            )

    def _checked_together(self) -> AbstractContextManager[None]:
        return nullcontext() if self.group is None else self.group.checked_together()

    def _resumed_position(self) -> str:
        resumed = self._resumed
        return "none" if resumed is None else f"{resumed.path.name} {resumed.values['step']}"

    def interruptible(self) -> AbstractContextManager[Any]:
        """Return the context of all epochs: with checkpoints, signals take effect between steps."""
        return nullcontext() if self.checkpoint is None else self.interrupts

    def interruptible_epoch(self) -> AbstractContextManager[Any]:
        """Return the context of the steps of one epoch."""
        return self.interrupts if self.checkpoint is None else nullcontext()

    def restore_callbacks(self) -> None:
        """Give the callbacks the states that the checkpoint has of them."""
        if self._resumed is not None:
            restore_callbacks(self.callbacks, self._resumed)

    def check_order(self, order: Any, epoch: int) -> None:
        """Raise InputError if an epoch continues in another order of the rows than before."""
        if self._resumed is not None and self.run.history.epochs == self._resumed.history.epochs:
            check_order(order, self._resumed.position, epoch)

    def _folder(self, series: list[str]) -> CheckpointFolder | None:
        """Return the folder to write to, held by this process."""
        checkpoint = self.checkpoint
        if checkpoint is None:
            return None
        if checkpoint.best is not None and checkpoint.best not in series:
            raise unknown_name("series in Checkpoint(best=)", checkpoint.best, series)
        if not self.run.is_first_process:
            return None
        path = Path(checkpoint.folder)
        folder = CheckpointFolder(path, checkpoint.keep)
        if self.resume is None or self.resume.resolve() != path.resolve():
            try:
                check_unused(path, self.trainer.model.training_state.step)
            except BaseException:
                folder.close()
                raise
        return folder

    def _continue(
        self, path: Path, settings: list[Setting], folder: CheckpointFolder | None
    ) -> None:
        """Read the newest intact checkpoint, check it, and give its state to the trainer."""
        run, trainer = self.run, self.trainer
        file, content, damaged = newest_intact(path, f"fit(resume={str(path)!r})")
        resumed = Resumed.of(file, content)
        resumed.check(settings, run.epochs)
        if folder is not None:
            folder.set_aside(damaged)
        trainer.continue_from(resumed.apply(trainer.model, trainer.optimizer))
        self._resumed, run.history = resumed, resumed.history
        done, stopped = run.history.epochs, resumed.values["stopped"]
        if run.epochs <= resumed.values["epochs"] and stopped:
            run.stopped = stopped
        if run.stopped or done == run.epochs:
            why = f" ({stopped})" if run.stopped else ""
            logger.warning(
                "%s: training is complete, with %d epochs%s; to continue, pass a larger number "
                "than epochs=%d",
                path,
                done,
                why,
                run.epochs,
            )

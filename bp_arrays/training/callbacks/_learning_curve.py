"""`LearningCurve`: training curves in a notebook, redrawn during training."""

from __future__ import annotations

import logging
import time
from typing import Any

from bp_arrays.plots import in_notebook, new_picture
from bp_arrays.training.callbacks._callback import Callback, Run

TIME_FRACTION = 0.1
"""Largest fraction of the time spent on drawing."""

logger = logging.getLogger("bp_arrays")


class LearningCurve(Callback):
    """Draw `history.plot()` below the cell of a notebook, and redraw it during training.

    Drawing takes at most a tenth of the time: short epochs are skipped, the last one is always
    drawn. Outside a notebook nothing is drawn; the log (`bp_arrays`, INFO) has a message then.
    Requires the extra `plot`.

    Parameters
    ----------
    *names : str
        The series to draw; by default all except "learning_rate" and "seconds".
    monitor : str, optional
        The series whose best epoch is marked; by default "val_loss", or none without validation
        data.

    Raises
    ------
    MissingExtraError
        If Matplotlib is not installed.
    InputError
        At the end of the first epoch, for a series that is not recorded.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.Linear(1), input_shape=(1,), device="cpu")
    >>> history = bp.fit(model, [[0.0], [1.0]], [[1.0], [3.0]], loss=bp.L2Loss(),
    ...                  optimizer=bp.SGD(0.5), epochs=3, callbacks=[bp.LearningCurve("loss")])
    """

    def __init__(self, *names: str, monitor: str | None = None) -> None:
        new_picture(1.0, 1.0)
        self.names = names
        self.monitor = monitor
        self._shown: Any = None
        self._drawn_epochs = 0
        self._next = 0.0

    def on_start(self, run: Run) -> None:
        self._shown, self._drawn_epochs, self._next = None, 0, 0.0
        if not in_notebook():
            logger.info("LearningCurve draws in notebooks only; see history.plot()")

    def on_epoch_end(self, run: Run) -> None:
        if run.history.epochs == 1:
            run.history.check_names(*self.names, monitor=self.monitor)
        if in_notebook() and run.is_first_process and time.perf_counter() >= self._next:
            self._draw(run)

    def on_end(self, run: Run) -> None:
        if in_notebook() and run.is_first_process and run.history.epochs > self._drawn_epochs:
            self._draw(run)

    def _draw(self, run: Run) -> None:
        from IPython.display import display

        started = time.perf_counter()
        picture = run.history.plot(*self.names, monitor=self.monitor)
        if self._shown is None:
            self._shown = display(picture, display_id=True)
        else:
            self._shown.update(picture)
        self._drawn_epochs = run.history.epochs
        ended = time.perf_counter()
        self._next = ended + (ended - started) * (1.0 / TIME_FRACTION - 1.0)

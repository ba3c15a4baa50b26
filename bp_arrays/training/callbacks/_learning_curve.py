"""The curves of a training while it runs, in a notebook."""

from __future__ import annotations

import logging
import time
from typing import Any

from bp_arrays.plots import in_notebook, new_picture
from bp_arrays.training.callbacks._callback import Callback, Run

SHARE = 0.1
"""The share of the time that drawing may take; it waits for its turn."""

logger = logging.getLogger("bp_arrays")


class LearningCurve(Callback):
    """Draws `history.plot()` under the cell of a notebook, and redraws it as the training goes on.

    Drawing takes a tenth of the time at most: after short epochs it waits; the last epoch is
    always drawn. Outside a notebook nothing is drawn, and the log (`bp_arrays`, INFO) says so.
    Needs the extra `plot`.

    Parameters
    ----------
    *names : str
        The series to draw; by default all but "learning_rate" and "seconds".
    monitor : str, optional
        The series whose best epoch is marked; by default "val_loss", and nothing is marked
        without validation data.

    Raises
    ------
    MissingExtraError
        If Matplotlib is not installed.
    InputError
        At the end of the first epoch, for a series that the training does not record.

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
        if in_notebook() and time.perf_counter() >= self._next:
            self._draw(run)

    def on_end(self, run: Run) -> None:
        if in_notebook() and run.history.epochs > self._drawn_epochs:
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
        self._next = ended + (ended - started) * (1.0 / SHARE - 1.0)

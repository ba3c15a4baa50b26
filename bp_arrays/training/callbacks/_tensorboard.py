"""`TensorBoard`: the history as event files for TensorBoard."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.extras import require_extra
from bp_arrays.training.callbacks._callback import Callback, Run

TRAINING, VALIDATION = "training", "validation"

BINS = 30
"""Number of bins of a histogram, as in TensorBoard's own display."""


class TensorBoard(Callback):
    """Write every series of the history to a folder for `tensorboard --logdir`.

    After each epoch a value is written under the name of the series, "loss", "accuracy", ..., with
    the number of the epoch as its step, counted over all calls of `fit` with the same optimizer.
    Training and validation are two runs, `folder/training` and `folder/validation`, which
    TensorBoard draws into one chart. Requires the extra `tensorboard`, but not TensorFlow.

    Parameters
    ----------
    folder : path
        Created if it does not exist; use one folder per training run.
    histograms : bool, default False
        Whether to write a histogram of each parameter after each epoch, too; this copies the
        parameters to the host.

    Raises
    ------
    MissingExtraError
        If TensorBoard is not installed.
    InputError
        At the start of training, if the folder cannot be created or written to.

    Examples
    --------
    >>> import bp_arrays as bp, pathlib, tempfile
    >>> model = bp.Model(bp.Linear(1), input_shape=(1,), device="cpu")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     history = bp.fit(model, [[0.0], [1.0]], [[1.0], [3.0]], loss=bp.L2Loss(),
    ...                      optimizer=bp.SGD(0.5), callbacks=[bp.TensorBoard(folder)])
    ...     [path.name for path in pathlib.Path(folder).iterdir()]
    ['training']
    """

    def __init__(self, folder: str | os.PathLike[str], *, histograms: bool = False) -> None:
        require_extra("tensorboard")
        self.folder = Path(folder)
        self.histograms = histograms
        self._writers: dict[str, Any] = {}

    def on_start(self, run: Run) -> None:
        if run.is_first_process:
            self._writer(TRAINING)

    def on_epoch_end(self, run: Run) -> None:
        if not run.is_first_process:
            return
        step = run.model.training_state.epoch
        summaries: dict[str, list[dict[str, Any]]] = {TRAINING: []}
        for name, values in run.history.items():
            kind = VALIDATION if name.startswith("val_") else TRAINING
            value = {"tag": name.removeprefix("val_"), "simple_value": values[-1]}
            summaries.setdefault(kind, []).append(value)
        if self.histograms:
            summaries[TRAINING] += [
                {"tag": name, "histo": _histogram(parameter)}
                for name, parameter in run.model.host_parameters().items()
            ]
        for kind, values_of_kind in summaries.items():
            writer = self._writer(kind)
            writer.add_event(_event(step, values_of_kind))
            writer.flush()  # so that TensorBoard shows it during training

    def on_end(self, run: Run) -> None:
        self._close()

    def _writer(self, kind: str) -> Any:
        if kind not in self._writers:
            folder = self.folder / kind
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._writers[kind] = _new_writer(folder)
            except OSError as error:
                raise InputError(
                    f"TensorBoard({str(self.folder)!r}): expected a writable folder, got {folder}: "
                    f"{error.strerror}; name another folder"
                ) from None
        return self._writers[kind]

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}


def _new_writer(folder: Path) -> Any:
    """Create a writer of a new event file in the folder."""
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    return EventFileWriter(str(folder))


def _event(step: int, values: list[dict[str, Any]]) -> Any:
    """Encode the values of one epoch in TensorBoard's format."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    summary = Summary(value=[Summary.Value(**value) for value in values])
    return Event(wall_time=time.time(), step=step, summary=summary)


def _histogram(values: np.ndarray[Any, Any]) -> Any:
    """Count the values in bins of equal width."""
    from tensorboard.compat.proto.histogram_pb2 import HistogramProto

    values = values.ravel().astype(np.float64)
    counts, edges = np.histogram(values, BINS)
    return HistogramProto(
        min=values.min(),
        max=values.max(),
        num=values.size,
        sum=values.sum(),
        sum_squares=values @ values,
        bucket_limit=edges[1:],
        bucket=counts,
    )

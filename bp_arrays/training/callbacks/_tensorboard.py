"""The history of a training as event files, which TensorBoard shows."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from bp_arrays.errors import InputError, MissingExtraError
from bp_arrays.training.callbacks._callback import Callback, Run

TRAINING, VALIDATION = "training", "validation"

BINS = 30
"""Of a histogram: as many as TensorBoard itself draws."""


class TensorBoard(Callback):
    """Writes every series of the history into a folder that `tensorboard --logdir` shows.

    After each epoch a value is written under the series' name, "loss", "accuracy", ..., with the
    number of the epoch as its step, counted over all calls of `fit` with the same optimizer. Those
    of the validation data are a run of their own beside it, so that TensorBoard draws both into
    one chart: `folder/training` and `folder/validation`. Needs the extra `tensorboard`.

    Parameters
    ----------
    folder : path
        Made if it does not exist; one for each training that is to be a line of its own.
    histograms : bool, default False
        Whether the values of each parameter are written too, as a histogram after each epoch;
        they are copied to the host for it.

    Raises
    ------
    MissingExtraError
        If TensorBoard, whose own writer this uses, is not installed.
    InputError
        When the training starts, if the folder cannot be made or written to.

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
        check_tensorboard()
        self.folder = Path(folder)
        self.histograms = histograms
        self._writers: dict[str, Any] = {}

    def on_start(self, run: Run) -> None:
        self._writer(TRAINING)

    def on_epoch_end(self, run: Run) -> None:
        step = run.model.training_state.epoch
        written: dict[str, list[dict[str, Any]]] = {TRAINING: []}
        for name, values in run.history.items():
            kind = VALIDATION if name.startswith("val_") else TRAINING
            value = {"tag": name.removeprefix("val_"), "simple_value": values[-1]}
            written.setdefault(kind, []).append(value)
        if self.histograms:
            written[TRAINING] += [
                {"tag": name, "histo": _histogram(parameter)}
                for name, parameter in run.model.host_parameters().items()
            ]
        for kind, values_of_kind in written.items():
            writer = self._writer(kind)
            writer.add_event(_event(step, values_of_kind))
            writer.flush()  # to be looked at while the training runs

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
                    f"TensorBoard({str(self.folder)!r}): cannot write to {folder}, "
                    f"{error.strerror}; name another folder"
                ) from None
        return self._writers[kind]

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}


def check_tensorboard() -> None:
    """Raise MissingExtraError unless TensorBoard is installed; neither needs TensorFlow."""
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f'event files need TensorBoard ({error}): pip install "bp_arrays[tensorboard]"'
        ) from None


def _new_writer(folder: Path) -> Any:
    """A writer of a file of its own, whatever other files there are in the folder."""
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    return EventFileWriter(str(folder))


def _event(step: int, values: list[dict[str, Any]]) -> Any:
    """The values after so many epochs, in TensorBoard's own format."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    summary = Summary(value=[Summary.Value(**value) for value in values])
    return Event(wall_time=time.time(), step=step, summary=summary)


def _histogram(values: np.ndarray[Any, Any]) -> Any:
    """How the values are spread, in bins of one width."""
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

"""The history of a training as event files, which TensorBoard shows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bp_arrays.errors import InputError, MissingExtraError
from bp_arrays.training.callbacks import Callback, Run

TRAINING, VALIDATION = "training", "validation"


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
        If tensorboardX, the writer, is not installed.
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
        _writer_class()
        self.folder = Path(folder)
        self.histograms = histograms
        self._writers: dict[str, Any] = {}

    def on_start(self, run: Run) -> None:
        self._close()  # of a training that an error ended
        self._writer(TRAINING)

    def on_epoch_end(self, run: Run) -> None:
        step = run.model.training_state.epoch
        for name, values in run.history.items():
            kind = VALIDATION if name.startswith("val_") else TRAINING
            self._writer(kind).add_scalar(name.removeprefix("val_"), values[-1], step)
        if self.histograms:
            for name, parameter in run.model.host_parameters().items():
                self._writer(TRAINING).add_histogram(name, parameter, step)
        for writer in self._writers.values():
            writer.flush()  # to be looked at while the training runs

    def on_end(self, run: Run) -> None:
        self._close()

    def _writer(self, kind: str) -> Any:
        if kind not in self._writers:
            folder = self.folder / kind
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._writers[kind] = _writer_class()(str(folder))
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


def _writer_class() -> Any:
    """tensorboardX's: a small package that needs no TensorFlow, and no TensorBoard to write."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise MissingExtraError(
            f'event files need tensorboardX ({error}): pip install "bp_arrays[tensorboard]"'
        ) from None
    return SummaryWriter

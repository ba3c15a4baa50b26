"""`Recorder`: the parameters of a model at some epochs of a training run."""

from __future__ import annotations

from typing import Any

from bp_arrays.errors import InputError
from bp_arrays.inputs import only_shape
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.optimizers import SGD
from bp_arrays.training import Callback, Run, fit
from bp_arrays.typing import HostArray


class Recorder(Callback):
    """Record the parameters of a model during training.

    In a long training run only every second, fourth, ... epoch is kept, so that there are never
    more than `frames`.

    Parameters
    ----------
    frames : int, default 60

    Examples
    --------
    >>> import bp_arrays as bp
    >>> from bp_arrays.explanation import Recorder
    >>> model = bp.Model(bp.Linear(1), 1, device="cpu", seed=0)
    >>> recorder = Recorder(frames=4)
    >>> history = bp.fit(model, [[0.0], [1.0]], [[1.0], [3.0]], loss=bp.L2Loss(),
    ...                  optimizer=bp.SGD(0.5), epochs=10, callbacks=[recorder])
    >>> recorder.epochs
    [0, 4, 8]
    """

    def __init__(self, frames: int = 60) -> None:
        if not isinstance(frames, int) or frames < 2:
            raise InputError(f"Recorder(frames={frames!r}): expected an integer >= 2")
        self.frames = frames
        self.epochs: list[int] = []
        self.parameters: list[dict[str, HostArray]] = []
        self._stride = 1

    def on_start(self, run: Run) -> None:
        self.epochs, self.parameters, self._stride = [], [], 1
        self._record(0, run.model)

    def on_epoch_end(self, run: Run) -> None:
        epoch = run.history.epochs
        if epoch % self._stride:
            return
        self._record(epoch, run.model)
        if len(self.epochs) > self.frames:
            self._stride *= 2
            frames = [k for k, epoch in enumerate(self.epochs) if epoch % self._stride == 0]
            self.epochs = [self.epochs[k] for k in frames]
            self.parameters = [self.parameters[k] for k in frames]

    def _record(self, epoch: int, model: Model) -> None:
        self.epochs.append(epoch)
        self.parameters.append(model.host_parameters())


def descend(model: Model, x: Any, t: Any, loss: Loss, eta: float, steps: int) -> Recorder:
    """Record gradient descent on one sample, u ← u − η∇L, with a copy of the model."""
    copy = Model(model.net, only_shape(model.inputs, "explain"), device="cpu", dtype="float64")
    copy.set_parameters(model.host_parameters())
    recorder = Recorder(frames=steps + 1)
    fit(copy, x, t, loss=loss, optimizer=SGD(eta), epochs=steps, callbacks=[recorder])
    return recorder

"""`Recorder`: the parameters of a model at some epochs of a training run."""

from __future__ import annotations

from typing import Any

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.inputs import only_shape
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.optimizers import SGD
from bp_arrays.training import Callback, Run
from bp_arrays.typing import HostArray


class Recorder(Callback):
    """Record the parameters of a model during training.

    In a long training run only every second, fourth, ... epoch is kept, and the last one, so that
    there are never more than `frames`. `Explanation.to_html(path, recording=recorder)` plays them.

    Parameters
    ----------
    frames : int, default 60

    Attributes
    ----------
    epochs : list of int
        The epochs that are kept, from 0, before training.
    parameters : list of dict of str to array
        The parameters after each of them, on the host.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> from bp_arrays.explanation import Recorder
    >>> model = bp.Model(bp.Linear(1), 1, device="cpu", seed=0)
    >>> recorder = Recorder(frames=4)
    >>> history = bp.fit(model, [[0.0], [1.0]], [[1.0], [3.0]], loss=bp.L2Loss(),
    ...                  optimizer=bp.SGD(0.5), epochs=10, callbacks=[recorder])
    >>> recorder.epochs
    [0, 4, 8, 10]
    """

    def __init__(self, frames: int = 60) -> None:
        if not isinstance(frames, int) or frames < 2:
            raise InputError(f"Recorder(frames={frames!r}): expected an integer >= 2")
        self.frames = frames
        self.epochs: list[int] = []
        self.parameters: list[dict[str, HostArray]] = []
        self._stride = 1
        self._last: tuple[int, dict[str, HostArray]] | None = None

    def on_start(self, run: Run) -> None:
        self.epochs, self.parameters, self._stride = [], [], 1
        self._record(0, run.model.host_parameters())

    def on_epoch_end(self, run: Run) -> None:
        epoch, parameters = run.history.epochs, run.model.host_parameters()
        self._last = epoch, parameters  # at the end EarlyStopping may have restored others
        if epoch % self._stride:
            return
        self._record(epoch, parameters)
        if len(self.epochs) >= self.frames and epoch < run.epochs:  # one is for the last epoch
            self._stride *= 2
            frames = [k for k, epoch in enumerate(self.epochs) if epoch % self._stride == 0]
            self.epochs = [self.epochs[k] for k in frames]
            self.parameters = [self.parameters[k] for k in frames]

    def on_end(self, run: Run) -> None:
        if self._last is not None and self._last[0] != self.epochs[-1]:
            self._record(*self._last)
        self._last = None

    def state(self) -> dict[str, Any]:
        return {
            "epochs": self.epochs,
            "parameters": self.parameters,
            "stride": self._stride,
            "last": self._last,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.epochs, self.parameters = list(state["epochs"]), list(state["parameters"])
        self._stride = state["stride"]
        self._last = None if state["last"] is None else (state["last"][0], state["last"][1])

    def _record(self, epoch: int, parameters: dict[str, HostArray]) -> None:
        self.epochs.append(epoch)
        self.parameters.append(parameters)


def descend(model: Model, x: Any, t: Any, loss: Loss, eta: float, steps: int) -> Recorder | None:
    """Record gradient descent on one sample, u ← u − η∇L, with a copy of the model.

    As in the explanation, Dropout does not act and BatchNorm takes its running values. None if the
    loss or a parameter becomes NaN or infinite.
    """
    copy = Model(model.net, only_shape(model.inputs, "explain"), device="cpu", dtype="float64")
    copy.set_parameters(model.host_parameters())
    recorder, optimizer = Recorder(frames=steps + 1), SGD(eta)
    recorder.epochs, recorder.parameters = [0], [copy.host_parameters()]
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(1, steps + 1):
            value, gradients = copy.gradients(x, t, loss, training=False)
            copy.update(optimizer, gradients)
            if not (np.isfinite(value) and np.isfinite(copy.vector).all()):
                return None
            recorder.epochs.append(step)
            recorder.parameters.append(copy.host_parameters())
    return recorder

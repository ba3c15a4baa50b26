"""`GradientNorms`: the norms of gradients and updates of each layer, in the history."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.losses import Loss
from bp_arrays.model import Model, Objective
from bp_arrays.training.callbacks._callback import Callback, Run
from bp_arrays.training.callbacks._probe import probe_samples, trained_parameters
from bp_arrays.typing import HostArray

GRADIENT, UPDATE, RATIO = "gradient_norm", "update_norm", "update_ratio"


class GradientNorms(Callback):
    """Record the norms of the gradient and of the update of each layer after every epoch.

    For each layer with trained parameters, such as "0", the history gets the series

    - "gradient_norm/0": ‖g‖₂, the gradient of the loss of some samples by its parameters,
    - "update_norm/0": ‖Δθ‖₂, how far the epoch has moved its parameters,
    - "update_ratio/0": ‖Δθ‖₂ / ‖θ‖₂, with θ before the epoch; infinite or NaN if θ was 0,

    and the same of all parameters, without "/0". `history.plot("update_ratio/0")` draws one.

    Parameters
    ----------
    x : array (samples, *input_shape)
        About a hundred samples are enough.
    t : array
        The targets of the samples.
    loss : Loss

    Raises
    ------
    InputError
        For anything but a loss; at the start of training, for samples that do not fit the model or
        are not finite.

    Notes
    -----
    The gradient is that after the epoch, as in evaluation: without Dropout. With `EMA` the
    parameters are the averages. Statistics of values and errors: `Diagnosis`.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> x, t = [[0.0], [1.0]], [[1.0], [3.0]]
    >>> model = bp.Model(bp.Linear(1), input_shape=1, device="cpu", seed=0)
    >>> norms = bp.GradientNorms(x, t, bp.L2Loss())
    >>> history = bp.fit(model, x, t, loss=bp.L2Loss(), optimizer=bp.SGD(0.5), epochs=50,
    ...                  callbacks=[norms])
    >>> history["gradient_norm"][0] > history["gradient_norm"][-1]
    True
    """

    def __init__(self, x: Any, t: Any, loss: Loss) -> None:
        if not isinstance(loss, Loss):
            raise InputError(
                f"GradientNorms(loss=): expected a loss such as L2Loss(), got {loss!r:.80}"
            )
        self.x, self.t, self.loss = x, t, loss
        self._before: HostArray | None = None

    def on_start(self, run: Run) -> None:
        with run.model.device.activate():
            probe_samples("GradientNorms", run.model, self.x, self.t, self.loss)
        self._before = trained_parameters(run.model)

    def on_epoch_end(self, run: Run) -> None:
        model, after = run.model, trained_parameters(run.model)
        before = after if self._before is None else self._before
        gradient = norms_by_layer(model, self._gradient(model))
        update, length = (norms_by_layer(model, v) for v in (after - before, before))
        values = {}
        for layer in gradient:
            values[f"{GRADIENT}{layer}"] = gradient[layer]
            values[f"{UPDATE}{layer}"] = update[layer]
            values[f"{RATIO}{layer}"] = _ratio(update[layer], length[layer])
        for name in values:  # a run that resumes may have had epochs without this callback
            for _ in range(len(run.history.get(name, ())), run.history.epochs - 1):
                run.history.record({name: math.nan})
        run.history.record(values)
        self._before = after

    def on_end(self, run: Run) -> None:
        self._before = None  # as large as the model

    def state(self) -> dict[str, Any]:
        return {"before": self._before}

    def restore(self, state: dict[str, Any]) -> None:
        self._before = state["before"]

    def _gradient(self, model: Model) -> HostArray:
        device = model.device
        with device.activate():
            x, t = probe_samples("GradientNorms", model, self.x, self.t, self.loss)
            objective = Objective(model.net, model.layout, self.loss)
            context = model.context(training=False, needs_input_gradient=False)
            g = objective.gradient(*model.current_vectors(), (x, t, None), context).g
            return device.to_numpy(g).astype(np.float64)


def norms_by_layer(model: Model, vector: HostArray) -> Mapping[str, float]:
    """Return the norm of the part of each layer, by "/path", and that of all by ""."""
    squares: dict[str, float] = {"": 0.0}
    for entry in model.layout.trainable:
        path = entry.name.rpartition(".")[0]
        part = vector[entry.offset : entry.offset + entry.size]
        square = float(part @ part)
        squares[""] += square
        if path:  # a net of one layer is all there is
            squares[f"/{path}"] = squares.get(f"/{path}", 0.0) + square
    return {path: math.sqrt(square) for path, square in squares.items()}


def _ratio(update: float, length: float) -> float:
    if length > 0.0:
        return update / length
    return math.inf if update > 0.0 else math.nan

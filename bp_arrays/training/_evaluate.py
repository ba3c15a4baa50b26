"""Loss and metrics of a model on data it is not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np

from bp_arrays.data import Feed, as_batches
from bp_arrays.devices import Device
from bp_arrays.inputs import BatchSpec
from bp_arrays.losses import Loss
from bp_arrays.model import Model, Objective
from bp_arrays.training._metrics import Metric

EVALUATION_ROWS = 1024
"""Rows that pass through at once when a model is evaluated."""


class Totals:
    """The loss and the metrics of an epoch, added up on the device and read once.

    The mean over batches of different weight is the sum of value · weight over the sum of the
    weights, where a batch weighs what the loss divided by: so the epoch's loss is that of all
    its samples together.
    """

    def __init__(self, loss: Loss, metrics: Sequence[Metric]) -> None:
        self.loss = loss
        self.metrics = metrics
        self._value: Any = 0.0
        self._weight: Any = 0.0
        self._measured: Any = ()

    def add(self, value: Any, weight: Any, measured: tuple[tuple[Any, ...], ...]) -> None:
        """Add what one batch contributes: loss · weight, weight, and the sums of each metric."""
        self._value = self._value + value
        self._weight = self._weight + weight
        if measured:
            so_far = self._measured or [(0.0,) * len(sums) for sums in measured]
            self._measured = [
                tuple([a + b for a, b in zip(one, other, strict=True)])
                for one, other in zip(so_far, measured, strict=True)
            ]

    def values(self, device: Device) -> dict[str, float]:
        """The values by name; waits for the device."""
        total = _on_host(self._value, device)
        if self.loss.reduction == "mean":  # 0, not 0 / 0, if nothing counted
            weight = _on_host(self._weight, device)
            total = total / weight if weight else total
        values = {"loss": float(total)}
        for metric, sums in zip(self.metrics, self._measured, strict=True):
            values[metric.name] = metric.value(tuple(_on_host(s, device) for s in sums))
        return values


def evaluate(
    model: Model,
    x: Any,
    t: Any = None,
    *,
    loss: Loss,
    metrics: Sequence[Metric] = (),
    batch_size: int | None = None,
    sample_weight: Any = None,
) -> dict[str, float]:
    """The loss and the metrics of a model on data, as floats by name.

    Parameters
    ----------
    model : Model
    x : array (rows, *input_shape), tuple or dict of arrays, bp.data.Batches, or batches
        As `fit` takes it; the rows are taken as they lie.
    t : array
        Targets of an array, as the loss takes them.
    loss : Loss
    metrics : sequence of Metric, optional
    batch_size : int, default 1024
        Rows of an array that pass through at once.
    sample_weight : array (rows,), or (rows, ...) of positions, optional
        Weights of the samples in the loss.

    Raises
    ------
    InputError, DeviceMismatchError
        As `fit` does for the same data.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.Identity(), input_shape=(1,), device="cpu")
    >>> bp.evaluate(model, [[1.0], [3.0]], [[1.0], [1.0]], loss=bp.L2Loss())
    {'loss': 1.0}
    """
    batches = as_batches(x, t, sample_weight, batch_size=batch_size)
    rows = batches.batch_size if batches is x else batch_size or EVALUATION_ROWS
    return evaluate_feed(
        model, batches.feed(BatchSpec.of(model, loss)), loss=loss, metrics=metrics, rows=rows
    )


def evaluate_feed(
    model: Model, feed: Feed, *, loss: Loss, metrics: Sequence[Metric], rows: int
) -> dict[str, float]:
    """The same for data that has been checked already, `rows` at once."""
    objective = Objective(model.net, model.layout, loss, tuple(metrics))
    totals = Totals(loss, metrics)
    quiet = np.errstate(under="ignore")  # an underflow to 0 is meant
    with quiet, model.device.activate(), closing(feed.epoch(rows, None)) as batches:
        context = model.context(training=False, needs_input_gradient=False)
        theta, state = model.current_vectors()
        for batch in batches:
            made = objective.forward(theta, state, batch, context)
            totals.add(made.loss * made.weight, made.weight, made.sums)
        return totals.values(model.device)


def _on_host(value: Any, device: Device) -> Any:
    if isinstance(value, float):
        return np.float64(value)
    return device.to_numpy(value).astype(np.float64)

"""`evaluate`: the loss and the metrics of a model on data."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np

from bp_arrays.data import Feed, as_batches
from bp_arrays.devices import Device
from bp_arrays.errors import InputError
from bp_arrays.inputs import BatchSpec
from bp_arrays.losses import Loss
from bp_arrays.model import Model, Objective
from bp_arrays.training._metrics import Metric, check_metrics

EVALUATION_ROWS = 1024
"""The default batch size of `evaluate`."""


class Totals:
    """The loss and the metrics of an epoch, summed on the device and read once.

    The mean over batches is the sum of loss · weight over the sum of the weights, where the weight
    of a batch is the divisor of its mean: so the epoch's loss is the mean over all its samples.
    """

    def __init__(self, loss: Loss, metrics: Sequence[Metric]) -> None:
        self.loss = loss
        self.metrics = metrics
        self._value: Any = 0.0
        self._weight: Any = 0.0
        self._measured: Any = ()

    def add(self, value: Any, weight: Any, measured: tuple[tuple[Any, ...], ...]) -> None:
        """Add the loss · weight, the weight and the sums of each metric of one batch."""
        self._value = self._value + value
        self._weight = self._weight + weight
        if measured:
            totals = self._measured or [(0.0,) * len(sums) for sums in measured]
            self._measured = [
                tuple([a + b for a, b in zip(total, sums, strict=True)])
                for total, sums in zip(totals, measured, strict=True)
            ]

    def values(self, device: Device) -> dict[str, float]:
        """Return the values by name; waits for the device."""
        total = _as_numpy(self._value, device)
        if self.loss.reduction == "mean":  # 0, not 0 / 0, if the total weight is 0
            weight = _as_numpy(self._weight, device)
            total = total / weight if weight else total
        values = {"loss": float(total)}
        for metric, sums in zip(self.metrics, self._measured, strict=True):
            values[metric.name] = metric.value(tuple(_as_numpy(s, device) for s in sums))
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
    """Return the loss and the metrics of a model on data, as floats by name.

    Parameters
    ----------
    model : Model
    x : array (rows, *input_shape), tuple or dict of arrays, bp.data.Batches, or batches
        As for `fit`; the rows are not shuffled.
    t : array
        Targets for arrays, as the loss expects them.
    loss : Loss
    metrics : sequence of Metric, optional
    batch_size : int, default 1024
        Rows of an array per forward pass.
    sample_weight : array (rows,), or (rows, ...) of positions, optional
        Weights of the samples in the loss.

    Raises
    ------
    InputError, DeviceMismatchError
        For data, targets or weights that do not fit, as in `fit`.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.Identity(), input_shape=(1,), device="cpu")
    >>> bp.evaluate(model, [[1.0], [3.0]], [[1.0], [1.0]], loss=bp.L2Loss())
    {'loss': 1.0}
    """
    if not isinstance(loss, Loss):
        raise InputError(
            f"evaluate(loss=): expected a loss such as CrossEntropy(), got {loss!r:.80}"
        )
    check_metrics(metrics)
    batches = as_batches(x, t, sample_weight, batch_size=batch_size)
    rows = batches.batch_size if batches is x else batch_size or EVALUATION_ROWS
    return evaluate_feed(
        model,
        batches.feed(BatchSpec.of(model, loss, metrics)),
        loss=loss,
        metrics=metrics,
        rows=rows,
    )


def evaluate_feed(
    model: Model, feed: Feed, *, loss: Loss, metrics: Sequence[Metric], rows: int
) -> dict[str, float]:
    """Return the loss and the metrics on checked data, in batches of `rows`."""
    objective = Objective(model.net, model.layout, loss, tuple(metrics))
    totals = Totals(loss, metrics)
    quiet = np.errstate(under="ignore")  # an underflow to 0 is meant
    with quiet, model.device.activate(), closing(feed.epoch(rows, None)) as batches:
        context = model.context(training=False, needs_input_gradient=False)
        theta, state = model.current_vectors()
        for batch in batches:
            result = objective.forward(theta, state, batch, context)
            totals.add(result.loss * result.weight, result.weight, result.sums)
        return totals.values(model.device)


def _as_numpy(value: Any, device: Device) -> Any:
    if isinstance(value, float):
        return np.float64(value)
    return device.to_numpy(value).astype(np.float64)

"""`evaluate`: the loss and the metrics of a model on data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import reduce
from typing import Any

import numpy as np

from bp_arrays.data import Feed, as_batches
from bp_arrays.devices import Device, memory_advice
from bp_arrays.distributed import ProcessGroup
from bp_arrays.errors import InputError
from bp_arrays.inputs import BatchSpec, no_sample_counts
from bp_arrays.losses import Loss
from bp_arrays.model import Model, Objective
from bp_arrays.training._metrics import Metric, with_part_losses
from bp_arrays.training._table import check_table, spec_of
from bp_arrays.typing import Namespace

EVALUATION_ROWS = 1024
"""The default batch size of `evaluate`."""

PENDING_BATCHES = 32
"""Batches whose sums wait on a device without float64 until they are read together."""


Sums = tuple[Any, Any, tuple[tuple[Any, ...], ...]]
"""The loss · weight, the weight and the sums of each metric."""


def merged(metrics: Sequence[Metric], total: Sums, batch: Sums, xp: Namespace) -> Sums:
    """Return the sums of the batches so far and the next one, numbers or arrays in float64."""
    value, weight, measured = total
    of_batch = [tuple([_in_float64(number, xp) for number in sums]) for sums in batch[2]]
    each = zip(metrics, measured, of_batch, strict=True)
    return value + batch[0], weight + batch[1], tuple([m.merge(a, b, xp) for m, a, b in each])


def _in_float64(value: Any, xp: Namespace) -> Any:
    """Return a number as a float; an array, such as one of a custom metric, in float64.

    A copy: `merge` may return it, and steps overwrite their memory.
    """
    return float(value) if type(value) in (int, float) else xp.astype(value, xp.float64)


class Totals:
    """The loss and the metrics of an epoch, summed in float64 and read once.

    A device with float64 sums on its own and is read at the end; for any other the sums of up to
    `PENDING_BATCHES` batches wait on the device, and are added on the host.

    The mean over batches is the sum of loss · weight over the sum of the weights, where the weight
    of a batch is the divisor of its mean: so the epoch's loss is the mean over all its samples.
    """

    def __init__(
        self,
        loss: Loss,
        metrics: Sequence[Metric],
        device: Device,
        sums: Sums | None = None,
    ) -> None:
        self.loss = loss
        self.metrics = metrics
        self._device = device
        self._on_device = device.sum_dtype == "float64"
        self._float64 = device.dtype("float64") if self._on_device else None
        self._total: Sums | None = None
        if sums is not None:
            self._total = _converted(self._restored, *sums)
        self._pending: list[Sums] = []

    def add(self, value: Any, weight: Any, measured: tuple[tuple[Any, ...], ...]) -> None:
        """Add the loss · weight, the weight and the sums of each metric of one batch."""
        batch = (value, weight, measured)
        if not self._on_device:
            self._pending.append(batch)
            if len(self._pending) == PENDING_BATCHES:
                self._read()
        elif self._total is None:
            self._total = _converted(self._as_float64, *batch)
        elif not self.metrics:  # as `merged`, without its calls
            self._total = (self._total[0] + value, self._total[1] + weight, ())
        else:
            self._total = merged(self.metrics, self._total, batch, self._device.xp)

    def _as_float64(self, value: Any) -> Any:
        """Return a float, or an array in float64: a copy, as steps overwrite their memory."""
        if isinstance(value, (int, float)):
            return float(value)
        return self._device.xp.astype(value, self._float64)

    def _restored(self, value: Any) -> Any:
        """Return a number of earlier sums as `add` would have left it."""
        if isinstance(value, (int, float)):
            # a Python float plus a float32 of NumPy is a float32
            return np.float64(value) if self._device.is_host else float(value)
        return self._device.asarray(value, "float64") if self._on_device else value

    def sums(self, group: ProcessGroup | None = None) -> Sums | None:
        """Return the sums so far, of all processes of a group, on the host; waits for them."""
        self._read()
        own = None if self._total is None else _converted(self._copied, *self._total)
        if group is None:
            return own
        counted = [sums for sums in group.gather(own) if sums is not None]
        if not counted:
            return None
        total: Sums = reduce(lambda a, b: merged(self.metrics, a, b, np), counted)
        return total

    def _copied(self, value: Any) -> Any:
        if isinstance(value, (int, float)):
            return float(value)
        return np.array(self._device.to_numpy(value), np.float64)

    def _read(self) -> None:
        for batch in self._pending:
            sums, total = _converted(self._on_host, *batch), self._total
            self._total = sums if total is None else merged(self.metrics, total, sums, np)
        self._pending.clear()

    def _on_host(self, value: Any) -> Any:
        return np.asarray(self._device.to_numpy(value), np.float64)

    def values(self, group: ProcessGroup | None = None) -> dict[str, float]:
        """Return the values by name, of the processes of a group together; waits for the device.

        Raises
        ------
        InputError
            If no sample counted.
        """
        total, weight, measured = self.sums(group) or (0.0, 0.0, ())
        if self.loss.reduction == "mean":
            if not weight:  # of batches, whose weights are known at the end only
                raise no_sample_counts()
            total = total / weight
        values = {"loss": float(total)}
        for metric, sums in zip(self.metrics, measured, strict=True):
            values[metric.name] = metric.value(sums)
        return values


def _converted(convert: Callable[[Any], Any], value: Any, weight: Any, measured: Any) -> Sums:
    return convert(value), convert(weight), tuple([tuple(map(convert, s)) for s in measured])


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
    t : array, or dict or tuple of arrays
        Targets for arrays, as the loss expects them; as for `fit`.
    loss : Loss
    metrics : sequence of Metric, optional
    batch_size : int, default 1024
        Rows of an array per forward pass.
    sample_weight : array (rows,), or (rows, ...) of positions, optional
        Weights of the samples in the loss and the metrics.

    Raises
    ------
    InputError, DeviceMismatchError
        For data, targets or weights that do not fit, as in `fit`.
    OutOfMemoryError
        If a batch needs more memory than there is.

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
    metrics = with_part_losses(metrics, loss)
    check_table(x, spec_of(model), "evaluate")
    batches = as_batches(x, t, sample_weight, batch_size=batch_size)
    rows = batches.batch_size if batches is x else batch_size or EVALUATION_ROWS
    with memory_advice("evaluate", model.device, rows, "The model is unchanged"):
        return evaluate_feed(
            model,
            batches.feed(BatchSpec.of(model, loss, metrics)),
            loss=loss,
            metrics=metrics,
            rows=rows,
        )


def nothing() -> None:
    """Do nothing between two batches."""


def evaluate_feed(
    model: Model,
    feed: Feed,
    *,
    loss: Loss,
    metrics: Sequence[Metric],
    rows: int,
    between: Callable[[], None] = nothing,
    group: ProcessGroup | None = None,
) -> dict[str, float]:
    """Return the loss and the metrics on checked data, in batches of `rows`.

    The processes of a group share the rows of each batch, and all return the same values.
    `between` is called after each batch, and may raise an exception.
    """
    objective = Objective(model.computed_net, model.layout, loss, tuple(metrics))
    totals = Totals(loss, metrics, model.device)
    sum_dtype = model.device.dtype(model.device.sum_dtype)
    quiet = np.errstate(under="ignore")  # an underflow to 0 is meant
    rank, size = (0, 1) if group is None else (group.rank, group.size)
    pieces = feed.pieces(rows, None, rank, size)
    with quiet, model.device.activate(), closing(pieces):
        context = model.context(training=False, needs_input_gradient=False, sum_dtype=sum_dtype)
        theta, state = model.current_vectors()
        total = 0
        for piece in pieces:
            total += piece.total
            if piece.batch is not None:
                result = objective.forward(theta, state, piece.batch, context)
                totals.add(result.loss * result.weight, result.weight, result.sums)
            between()
        if group is not None and not feed.repeats:
            group.require_same(rows_of_validation_data=total)
        return totals.values(group)

"""Batches of a data set, on the model's device, the next one under way."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.model.doors import (
    check_batch_shape,
    check_same_device,
    is_host_data,
    to_device,
    to_host_array,
)
from bp_arrays.model.targets import index_dtype, prepare_targets, prepare_weights
from bp_arrays.typing import Array

CHECKED_VALUES = 2**24
"""Values looked at at once for NaN: data on disk is not read into memory whole."""


class Batch(NamedTuple):
    """Inputs (batch, *input_shape), targets and, if there are any, sample weights (batch,)."""

    x: Array
    t: Array
    weight: Array | None


class Batches:
    """A data set checked once, and cut into batches on the device of a model.

    Inputs on the device stay there and host inputs stay on the host, memory-mapped ones on disk;
    their batches are moved one by one. Targets and weights are moved at once.

    Raises
    ------
    InputError, DeviceMismatchError
        If there are no rows, the lengths differ, values are NaN or infinite, the targets do not
        suit the loss, or the arrays are on another device.
    """

    def __init__(
        self, model: Model, x: Any, t: Any, weight: Any, loss: Loss, *, what: str = ""
    ) -> None:
        self.model = model
        self.on_host = is_host_data(x)
        name = f"{what}x"
        if self.on_host:
            x = to_host_array(x, name)
        else:
            check_same_device(x, model.device, name)
        check_batch_shape(tuple(x.shape), model.input_shape, name)
        self.rows = int(x.shape[0])
        if self.rows == 0:
            raise InputError(f"{name} is empty: training and evaluation need at least one row")
        self.x = x
        with model.device.activate():
            self._check_finite(name)
            device, dtype = model.device, model.dtype
            self.t = prepare_targets(t, self.rows, loss, model.output_shape, device, dtype)
            self.weight = prepare_weights(weight, self.rows, device, dtype)

    def _check_finite(self, name: str) -> None:
        xp = np if self.on_host else self.model.device.xp
        if (
            self.x.dtype.kind in "biu"
            if self.on_host
            else not xp.isdtype(self.x.dtype, "real floating")
        ):
            return
        step = max(1, CHECKED_VALUES // math.prod(self.model.input_shape))
        for start in range(0, self.rows, step):
            part = self.x[start : min(start + step, self.rows), ...]
            if not bool(xp.all(xp.isfinite(part))):
                host = np.asarray(self.model.device.to_numpy(part) if not self.on_host else part)
                bad = np.argwhere(~np.isfinite(host))[0]
                place = ", ".join(map(str, [start + bad[0], *bad[1:]]))
                raise InputError(
                    f"{name}[{place}] is {host[tuple(bad)]}: training data must be finite; "
                    "drop or fill such rows first"
                )

    def epoch(self, batch_size: int, order: np.ndarray[Any, Any] | None) -> Iterator[Batch]:
        """The batches of one pass over the rows, in the given order or as they lie."""
        starts = range(0, self.rows, batch_size)
        spans = [(start, min(start + batch_size, self.rows)) for start in starts]
        if self.model.device.is_writable:
            yield from self._in_host_memory(spans, order)
            return
        if not (self.on_host and self.model.device.is_asynchronous):
            device_order = order if order is None else self._movable(order)
            for start, stop in spans:
                yield self._cut(start, stop, order, device_order)
            return
        with ThreadPoolExecutor(max_workers=1) as ahead:  # gathers and moves the next batch
            device_order = order if order is None else self._movable(order)
            following = ahead.submit(self._cut, *spans[0], order, device_order)
            for span in spans[1:]:
                ready = following.result()
                following = ahead.submit(self._cut, *span, order, device_order)
                yield ready
            yield following.result()

    def _in_host_memory(self, spans: Any, order: Any) -> Iterator[Batch]:
        """The batches where nothing has to be moved: cut out, or gathered row by row."""
        x, t, weight, dtype = self.x, self.t, self.weight, self.model.device.dtype(self.model.dtype)
        for start, stop in spans:
            rows = slice(start, stop) if order is None else order[start:stop]
            part = np.asarray(x[rows], dtype=dtype)
            yield Batch(part, t[rows], None if weight is None else weight[rows])

    def _movable(self, order: np.ndarray[Any, Any]) -> Array:
        with self.model.device.activate():
            return self.model.device.asarray(order, index_dtype(self.model.device))

    def _cut(self, start: int, stop: int, order: Any, device_order: Any) -> Batch:
        model, device = self.model, self.model.device
        with device.activate():
            xp = device.xp
            if order is None:
                x = self.x[start:stop, ...]
                t, weight = (a if a is None else a[start:stop, ...] for a in (self.t, self.weight))
            else:
                rows = device_order[start:stop]
                x = self.x[order[start:stop]] if self.on_host else xp.take(self.x, rows, axis=0)
                t, weight = (
                    a if a is None else xp.take(a, rows, axis=0) for a in (self.t, self.weight)
                )
            return Batch(to_device(x, device, model.dtype, model.input_shape), t, weight)

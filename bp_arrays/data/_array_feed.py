"""Batches cut from arrays: any row can be picked, in any order."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from bp_arrays.data._feed import Batch, BatchIterator, Feed, Order
from bp_arrays.data._input_spec import Door, is_mapped
from bp_arrays.data._prefetch import Prefetch
from bp_arrays.errors import InputError
from bp_arrays.inputs import (
    check_same_device,
    first_not_finite,
    index_dtype,
    is_host_data,
    pieces,
    placed,
    prepare_weights,
    to_host_array,
)
from bp_arrays.random import host_generator
from bp_arrays.typing import Array


class RowFeed(Feed):
    """Arrays checked once, and cut into batches on the device.

    Inputs on the device stay there and host inputs stay on the host, memory-mapped ones on disk;
    their batches are moved one by one. Targets and weights are moved at once, but for targets
    on disk.

    Raises
    ------
    InputError, DeviceMismatchError
        If there are no rows, the lengths differ, values are NaN or infinite, the targets do not
        suit the loss, or the arrays are on another device.
    """

    rows: int

    def __init__(self, door: Door, x: Any, t: Any, weight: Any, *, what: str = "") -> None:
        self.door = door
        self.on_host = is_host_data(x)
        name, device = f"{what}x", door.device
        if self.on_host:
            x = to_host_array(x, name)
        else:
            check_same_device(x, device, name)
        door.check_shape(tuple(x.shape), name)
        self.rows = int(x.shape[0])
        if self.rows == 0:
            raise InputError(f"{name} is empty: training and evaluation need at least one row")
        self.x = x
        with device.activate():
            self._check_finite(name)
            self.t: Any = None
            self.t_on_disk, self.t_dtype = is_mapped(t), door.dtype
            if door.has_targets(t):
                host, self.t_dtype = door.check_targets(t, self.rows)
                self.t = host if self.t_on_disk else placed(t, host, device, self.t_dtype)
            self.weight = prepare_weights(weight, self.rows, device, door.dtype)

    def _check_finite(self, name: str) -> None:
        if self.on_host:
            bad = first_not_finite(self.x)
            value = None if bad is None else self.x[bad[0] : bad[0] + 1][(0, *bad[1:])]
        else:
            bad, value = self._first_not_finite_there()
        if bad is not None:
            raise InputError(
                f"{name}[{', '.join(map(str, bad))}] is {value}: training data must be finite; "
                "drop or fill such rows first"
            )

    def _first_not_finite_there(self) -> tuple[tuple[int, ...] | None, Any]:
        """The same for an array on a device, which only says whether all is well."""
        device = self.door.device
        if not device.xp.isdtype(self.x.dtype, "real floating"):
            return None, None
        for start, part in pieces(self.x):
            if not bool(device.xp.all(device.xp.isfinite(part))):
                host = device.to_numpy(part)
                row, *rest = np.argwhere(~np.isfinite(host))[0]
                return (start + row, *rest), host[(row, *rest)]
        return None, None

    def order(self, shuffle: bool | Order, seed: int, epoch: int) -> Any:
        if not callable(shuffle):
            generator = host_generator(seed, "shuffle", epoch)
            return generator.permutation(self.rows) if shuffle else None
        order = np.asarray(shuffle(epoch))
        if order.shape != (self.rows,) or order.dtype.kind not in "iu":
            raise InputError(
                f"shuffle: expected {self.rows} row numbers from your function, got an array of "
                f"shape {order.shape} and dtype {order.dtype}"
            )
        if order.min() < 0 or order.max() >= self.rows:
            raise InputError(
                f"shuffle: row numbers must be from 0 to {self.rows - 1}, your function gave "
                f"{order.min()} to {order.max()}"
            )
        return order

    def epoch(self, batch_size: int, order: np.ndarray[Any, Any] | None) -> BatchIterator:
        starts = range(0, self.rows, batch_size)
        spans = [(start, min(start + batch_size, self.rows)) for start in starts]
        device = self.door.device
        if device.is_writable:
            return self._in_host_memory(spans, order)
        batches = self._moved(spans, order)
        return Prefetch(batches) if self.on_host and device.is_asynchronous else batches

    def _in_host_memory(self, spans: Any, order: Any) -> Generator[Batch]:
        """The batches where nothing has to be moved: cut out, or gathered row by row."""
        x, t, weight, device = self.x, self.t, self.weight, self.door.device
        dtype, t_dtype = device.dtype(self.door.dtype), device.dtype(self.t_dtype)
        # take is twice as fast as x[rows] for a few rows; sparse ones have no take
        takes = order is not None and isinstance(x, np.ndarray)
        for start, stop in spans:
            rows = slice(start, stop) if order is None else order[start:stop]
            yield Batch(
                np.asarray(x.take(rows, axis=0) if takes else x[rows], dtype=dtype),
                None if t is None else np.asarray(t[rows], dtype=t_dtype),
                None if weight is None else weight[rows],
            )

    def _moved(self, spans: Any, order: Any) -> Generator[Batch]:
        """The batches on another device than NumPy's."""
        device = self.door.device
        device_order = None
        if order is not None:
            with device.activate():
                device_order = device.asarray(order, index_dtype(device))
        for start, stop in spans:
            with device.activate():
                x = self._rows(self.x, start, stop, order if self.on_host else device_order)
                t = self._rows(self.t, start, stop, order if self.t_on_disk else device_order)
                if self.t_on_disk:
                    t = device.asarray(t, self.t_dtype)
                weight = self._rows(self.weight, start, stop, device_order)
                batch = Batch(self.door.batch_inputs(x), t, weight)
            yield batch

    def _rows(self, array: Any, start: int, stop: int, order: Any) -> Array | None:
        """These rows of an array; NumPy's order picks on the host, a device's own on it."""
        if array is None:
            return None
        if order is None:
            return array[start:stop, ...]
        if isinstance(order, np.ndarray):
            return array[order[start:stop]]
        return self.door.device.xp.take(array, order[start:stop], axis=0)

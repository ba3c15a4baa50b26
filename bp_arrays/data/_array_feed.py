"""`RowFeed`: batches of arrays, whose rows can be read in any order."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np

from bp_arrays.data._feed import Batch, BatchIterator, Feed, Order, Piece, share_of
from bp_arrays.data._fingerprint import fingerprint
from bp_arrays.data._prefetch import Prefetch
from bp_arrays.errors import InputError
from bp_arrays.inputs import (
    BatchSpec,
    index_dtype,
    is_mapped,
    is_on_host,
    moved_to_device,
    prepare_weights,
    row_count,
    target_on_device,
)
from bp_arrays.random import host_generator
from bp_arrays.trees import leaves, map_tree
from bp_arrays.typing import Array

GATHERED = 2**17
"""Bytes of small batches that are gathered at once: they stay in the cache until they are used."""


class RowFeed(Feed):
    """Arrays that are checked once, in batches on the device.

    Inputs stay on the device, on the host or, memory-mapped, on disk; their batches are moved one
    by one. Targets and weights are moved at once, except targets on disk. Several inputs may be
    in different locations.

    Parameters
    ----------
    spec : BatchSpec
    x, t, weight : as for `Batches`
    what : str, optional
        The name of the data in messages.

    Raises
    ------
    InputError, DeviceMismatchError
        If there are no rows, the lengths differ, values are NaN or infinite, the targets do not
        suit the loss, or the arrays are on another device.
    """

    rows: int

    def __init__(self, spec: BatchSpec, x: Any, t: Any, weight: Any, *, what: str = "") -> None:
        self.spec, device = spec, spec.device
        with device.activate():
            self.x = spec.read(x, f"{what}x")
            self.on_host = any(map(is_on_host, leaves(self.x)))
            self.dtypes = spec.dtypes(self.x)
            self.x = map_tree(self._index_moved, self.x, self.dtypes)
            self.rows = row_count(self.x)
            self.t: Any = None
            self.t_on_disk, self.t_dtype = any(map(is_mapped, _parts(t))), spec.dtype
            if spec.has_targets(t):
                host, self.t_dtype = spec.check_targets(t, self.rows)
                self.t = host if self.t_on_disk else target_on_device(t, host, device, self.t_dtype)
            self.weight = prepare_weights(
                weight, self.rows, device, spec.dtype, spec.positions, spec.metrics
            )
            if spec.loss is not None:
                spec.check_counted(host, weight)

    def _index_moved(self, array: Any, dtype: str) -> Any:
        """Return indices on the device in their dtype, so that batches need no conversion."""
        if dtype == self.spec.dtype or is_on_host(array):
            return array
        return moved_to_device(array, self.spec.device, dtype)

    def order(self, shuffle: bool | Order, seed: int, epoch: int) -> Any:
        if not callable(shuffle):
            generator = host_generator(seed, "shuffle", epoch)
            return generator.permutation(self.rows) if shuffle else None
        order = np.asarray(shuffle(epoch))
        if order.shape != (self.rows,) or order.dtype.kind not in "iu":
            raise InputError(
                f"shuffle: expected {self.rows} row numbers from the function, got an array of "
                f"shape {order.shape} and dtype {order.dtype}"
            )
        if order.min() < 0 or order.max() >= self.rows:
            raise InputError(
                f"shuffle: expected row numbers from 0 to {self.rows - 1} from the function, got "
                f"{order.min()} to {order.max()}"
            )
        return order

    def fingerprint(self) -> str:
        parts = (
            fingerprint(self.x, self.dtypes),
            fingerprint(self.t, self.t_dtype),
            fingerprint(self.weight),
        )
        return f"{self.rows} rows {' '.join(parts)}"

    def epoch(
        self, batch_size: int, order: np.ndarray[Any, Any] | None, start: int = 0
    ) -> BatchIterator:
        starts = range(start * batch_size, self.rows, batch_size)
        spans = [(start, min(start + batch_size, self.rows)) for start in starts]
        return self._batches(spans, order)

    def pieces(
        self, batch_size: int, order: Any, rank: int, size: int, start: int = 0
    ) -> Generator[Piece]:
        bounds, spans = [], []
        for row in range(start * batch_size, self.rows, batch_size):
            total = min(batch_size, self.rows - row)
            first, last = share_of(total, rank, size)
            bounds.append((first, last, total))
            if first < last:
                spans.append((row + first, row + last))
        with closing(self._batches(spans, order)) as batches:
            for first, last, total in bounds:
                yield Piece(next(batches) if first < last else None, first, total)

    def _batches(self, spans: Any, order: Any) -> BatchIterator:
        """Return the batches of these rows, each from a start to a stop in the order."""
        device = self.spec.device
        if device.is_host:
            return self._in_host_memory(spans, order)
        batches = self._moved(spans, order)
        return Prefetch(batches) if self.on_host and device.is_asynchronous else batches

    def _in_host_memory(self, spans: Any, order: Any) -> Generator[Batch]:
        """Yield batches in the host's memory: slices, or rows gathered in an order."""
        x, t, weight, device = self.x, self.t, self.weight, self.spec.device
        dtypes, t_dtype = (map_tree(device.dtype, each) for each in (self.dtypes, self.t_dtype))

        def cut(array: Any, dtype: Any) -> Array:
            # take is twice as fast as x[rows] for a few rows; `Rows` have no axis argument
            use_take = order is not None and isinstance(array, np.ndarray)
            return np.asarray(array.take(rows, axis=0) if use_take else array[rows], dtype=dtype)

        def targets(array: Any, dtype: Any) -> Array:
            return np.asarray(array[rows], dtype=dtype)

        if order is not None and isinstance(x, np.ndarray) and isinstance(t, np.ndarray):
            yield from self._gathered(spans, order, dtypes, t_dtype)
            return
        for start, stop in spans:
            rows = slice(start, stop) if order is None else order[start:stop]
            yield Batch(
                map_tree(cut, x, dtypes),
                map_tree(targets, t, t_dtype),
                None if weight is None else weight[rows],
            )

    def _gathered(self, spans: Any, order: Any, dtype: Any, t_dtype: Any) -> Generator[Batch]:
        """Yield batches of one input array; small ones are views of rows gathered at once.

        Gathering many small batches in one call saves most of the time.
        """
        x, t, weight = self.x, self.t, self.weight
        bytes_per_row = max(1, math.prod(x.shape[1:]) * np.dtype(dtype).itemsize)
        for group in _adjacent(spans, GATHERED // bytes_per_row):
            first, last = group[0][0], group[-1][1]
            rows = order[first:last]
            xs = np.asarray(x.take(rows, axis=0), dtype=dtype)
            ts = np.asarray(t[rows], dtype=t_dtype)
            weights = None if weight is None else weight[rows]
            for start, stop in group:
                part = slice(start - first, stop - first)
                yield Batch(xs[part], ts[part], None if weights is None else weights[part])

    def _moved(self, spans: Any, order: Any) -> Generator[Batch]:
        """Yield batches on a device other than NumPy's."""
        device = self.spec.device
        device_order = None
        if order is not None:
            with device.activate():
                device_order = device.asarray(order, index_dtype(device))
        orders = map_tree(lambda array: order if is_on_host(array) else device_order, self.x)
        t_orders = map_tree(lambda _: order if self.t_on_disk else device_order, self.t)
        for start, stop in spans:
            cut = partial(self._rows, start, stop)
            with device.activate():
                x = map_tree(cut, self.x, orders)
                t = map_tree(cut, self.t, t_orders)
                if self.t_on_disk:
                    t = map_tree(device.asarray, t, self.t_dtype)
                batch = Batch(self.spec.move(x), t, cut(self.weight, device_order))
            yield batch

    def _rows(self, start: int, stop: int, array: Any, order: Any) -> Array | None:
        """Return rows of an array; the order is an array of NumPy for one on the host."""
        if array is None:
            return None
        if order is None:
            return array[start:stop, ...]
        if isinstance(order, np.ndarray):
            return array[order[start:stop]]
        return self.spec.device.xp.take(array, order[start:stop], axis=0)


def _parts(t: Any) -> list[Any]:
    """Return the targets of each output."""
    if isinstance(t, Mapping):
        return list(t.values())
    return list(t) if isinstance(t, tuple) else [t]


def _adjacent(spans: Iterable[tuple[int, int]], most: int) -> Generator[list[tuple[int, int]]]:
    """Yield lists of spans, each beginning where the one before ends, of at most so many rows.

    A larger span is a list by itself.
    """
    group: list[tuple[int, int]] = []
    for span in spans:
        if group and (span[0] != group[-1][1] or span[1] - group[0][0] > most):
            yield group
            group = []
        group.append(span)
    if group:
        yield group

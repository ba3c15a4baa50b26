"""A step of training that takes no arguments: all it reads and writes are arrays that stay put.

They are the parameters and the optimizer's state, which the step writes over; the rows of the
epoch in their order; the numbers of every step, the learning rate among them; and the step's
place in the epoch, which the step itself moves on. So where the data lie on the device, the host
does nothing per step but launch a graph; other data are copied into a batch that stays put.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from bp_arrays.data import Batch, RowFeed
from bp_arrays.execution import StepGraph, capturable, update_kernel
from bp_arrays.inputs import index_dtype
from bp_arrays.training.runners._eager import WINDOW
from bp_arrays.typing import Array

if TYPE_CHECKING:
    from bp_arrays.training.runners._cuda_graph import CapturedTrainer

Kept = tuple[Array, tuple[Array, ...]]
"""The parameters and the optimizer's state, in arrays that no step writes over."""


class StandingStep:
    """The steps of one training on full batches.

    Parameters
    ----------
    trainer : CapturedTrainer
    batches : RowFeed
    batch_size : int
    """

    def __init__(self, trainer: CapturedTrainer, batches: RowFeed, batch_size: int) -> None:
        model, optimizer = trainer.model, trainer.optimizer
        self.optimizer, self.batches, self.batch_size = optimizer, batches, batch_size
        self.device, self.native = model.device, model.device.native
        self.xp: Any = capturable(model.device.xp)
        self.gradient = trainer._make_gradient(self.xp)
        self.dtype = model.device.dtype(model.dtype)
        self.graph = StepGraph(model.device)
        with self.graph.entered():
            self.theta, self.vectors = self._copies(model.vector, trainer.state.vectors)
            self.full, k = batches.rows // batch_size, len(optimizer.scalars(1, 1.0))
            self.index = self.device.dtype(index_dtype(self.device))
            self.numbers = self._zeros((self.full, k), self.device.dtype("float64"))
            self.order = self._zeros((batches.rows,), self.index)
            self.place = self._zeros((1,), self.index)  # of the step in its epoch
            self.first = self._zeros((1,), self.index)  # how many updates came before the epoch
            self.recent = self._zeros((WINDOW,), self.dtype)
            self.rows, self.slots = (
                self.xp.arange(n, dtype=self.index, device=self.native)
                for n in (batch_size, WINDOW)
            )
        self.kernel = update_kernel(
            optimizer.update, len(self.vectors), k, model.dtype, elementwise=optimizer.elementwise
        )
        self.totals: Any = None
        self.batch: Batch | None = None  # where host data are copied to
        self.feed: Iterator[Batch] = iter(())
        self.in_use: list[Batch] = []  # copied from, perhaps not yet done
        self.taken = 0

    @property
    def is_captured(self) -> bool:
        return self.graph.is_captured

    def entered(self) -> AbstractContextManager[None]:
        """Everything below is called inside this."""
        return self.graph.entered()

    # -- an epoch ----------------------------------------------------------------------------

    def begin(
        self, theta: Array, vectors: tuple[Array, ...], first: int, numbers: Any, order: Any
    ) -> None:
        """Load an epoch: where it starts from, its numbers step by step, the order of its rows."""
        order = np.arange(self.batches.rows) if order is None else order
        self.numbers[...] = self.device.asarray(np.asarray(numbers, np.float64), "float64")
        self.order[...] = self.device.asarray(order, index_dtype(self.device))
        self.first[...] = self.device.asarray(np.asarray([first]), index_dtype(self.device))
        self.host_order = order
        if self.totals is not None:
            _each(lambda total: _write(total, self.xp.zeros_like(total)), self.totals)
        self.restart((theta, vectors), 0)

    def restart(self, kept: Kept, place: int) -> None:
        """Go on from these arrays at that place of the epoch."""
        _each(_write, (self.theta, self.vectors), kept)
        self.place[...] = self.device.asarray(np.asarray([place]), index_dtype(self.device))
        self.taken = place
        if self.batches.on_host:
            self.feed = self.batches.epoch(self.batch_size, self.host_order)
            with self.graph.outside():
                for _ in range(place):
                    next(self.feed)

    def advance(self) -> None:
        """One step."""
        if self.batches.on_host:
            self._copy_in(self.next_batch())
        else:
            self.taken += 1
        self.graph(self._step)

    def next_batch(self) -> Batch:
        """The batch that comes next, which a step, or somebody else, takes."""
        start = self.taken * self.batch_size
        self.taken += 1
        if not self.batches.on_host:
            stop = min(start + self.batch_size, self.batches.rows)
            return self._gathered(self.order[start:stop])
        with self.graph.outside():  # it is made by another thread, on the default stream
            batch = next(self.feed)
        self.graph.follow()
        return batch

    def losses(self, count: int) -> list[float]:
        """Those of the last steps, as many as were made since the last look; waits for them."""
        recent = self.device.to_numpy(self.recent).astype(np.float64)
        self.in_use = []
        return [float(value) for value in recent[:count]]

    def sums(self) -> Any:
        """What all batches of the epoch added to loss and metrics."""
        return self.totals

    def kept(self) -> Kept:
        """Parameters and state as they are now, in arrays of their own."""
        return self._copies(self.theta, self.vectors)

    # -- what the graph repeats --------------------------------------------------------------

    def _step(self) -> None:
        xp, place = self.xp, self.place
        batch = self.batch
        if batch is None:
            rows = xp.take(self.order, place * self.batch_size + self.rows)
            batch = self._gathered(rows)
        numbers = xp.take(self.numbers, place, axis=0)[0, ...]
        counter = xp.reshape(self.first + place, ())
        value, g, sums = self.gradient(self.theta, batch, counter)
        self._update(g, numbers)
        self.recent[...] = xp.where(self.slots == place % WINDOW, value, self.recent)
        if self.totals is None:
            self.totals = _each(self._zero_like, sums)
        _each(lambda total, value: _write(total, total + value), self.totals, sums)
        self.place[...] = place + 1

    def _update(self, g: Array, numbers: Array) -> None:
        if self.kernel is not None:
            self.kernel(self.theta, g, self.vectors, numbers)
            return
        scalars = tuple(self.xp.astype(numbers[k], self.dtype) for k in range(numbers.shape[0]))
        updated = self.optimizer.update(self.theta, g, self.vectors, scalars, self.xp)
        # Whoever returns a part of what was handed in must not see it written over.
        _each(_write, (self.theta, self.vectors), self._copies(*updated))

    def _gathered(self, rows: Array) -> Batch:
        xp, data = self.xp, self.batches
        x, t = (xp.take(a, rows, axis=0) for a in (data.x, data.t))
        weight = data.weight if data.weight is None else xp.take(data.weight, rows, axis=0)
        return Batch(x if x.dtype == self.dtype else xp.astype(x, self.dtype), t, weight)

    def _copy_in(self, batch: Batch) -> None:
        if self.batch is None:
            self.batch = Batch(*(a if a is None else self.xp.zeros_like(a) for a in batch))
        for ours, theirs in zip(self.batch, batch, strict=True):
            if ours is not None:
                ours[...] = theirs
        self.in_use.append(batch)

    def _copies(self, theta: Array, vectors: tuple[Array, ...]) -> Kept:
        def copied(array: Array) -> Array:
            return self.xp.asarray(array, device=self.native, copy=True)

        return copied(theta), tuple(map(copied, vectors))

    def _zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.xp.zeros(shape, dtype=dtype, device=self.native)

    def _zero_like(self, value: Any) -> Array:
        if isinstance(value, float):
            return self._zeros((), self.device.dtype("float64"))
        return self.xp.zeros_like(value)


def _write(array: Array, values: Array) -> None:
    array[...] = values


def _each(function: Callable[..., Any], *trees: Any) -> Any:
    """The function of the leaves of equally nested tuples, nested the same."""
    if not isinstance(trees[0], tuple):
        return function(*trees)
    return tuple(_each(function, *parts) for parts in zip(*trees, strict=True))

"""`StaticStep`: a training step without arguments, which reads and writes static buffers.

They are the parameters and the optimizer's vectors, which the step overwrites; the order of the
rows of the epoch; the scalars of every step, such as the learning rate; and the position of the
step in the epoch, which the step increments. So for data on the device, the host only launches one
graph per step; other data are copied into a static batch.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np

from bp_arrays.data import Batch, RowFeed
from bp_arrays.execution import StepGraph, update_kernel
from bp_arrays.inputs import index_dtype
from bp_arrays.model import Gradient
from bp_arrays.optimizers import scaled_update
from bp_arrays.training._evaluate import merged
from bp_arrays.training._step import TrainingStep
from bp_arrays.training.runners._runner import Vectors, Window, check_equal
from bp_arrays.trees import Tree, leaves, map_tree
from bp_arrays.typing import Array

WINDOW = 32
"""Steps whose losses stay on the device until they are checked together."""


class StaticStep:
    """The steps of one training run on full batches of one size.

    Parameters
    ----------
    step : TrainingStep
    batch_size : int
    verifies : bool
        Whether the captured step is compared with the eager one: for custom parts.
    """

    def __init__(self, step: TrainingStep, batch_size: int, *, verifies: bool) -> None:
        model, optimizer = step.model, step.optimizer
        self.model, self.optimizer, self.batch_size = model, optimizer, batch_size
        self.metrics = step.objective.metrics
        self.device, self.native = model.device, model.device.native
        self.xp: Any = model.device.xp
        graph = StepGraph(model.device)
        # constants of its own: as this step makes them, no other step can use them
        self.step = replace(step, xp=graph.xp, _constants={})
        self.dtype = model.device.dtype(model.dtype)
        self.wide = self.xp.result_type(self.dtype, self.xp.float32)  # of losses and scalars
        self.index = self.device.dtype(index_dtype(self.device))
        with graph.on_stream():
            theta, others = model.current_vectors()
            self.theta, self.others = self._copy((theta, others))
            self.optimizer_vectors = self._copy(model.training_state.arrays)
            self.position = self._zeros((1,), self.index)  # of the step in its epoch
            self.first = self._zeros((1,), self.index)  # number of updates before the epoch
            self.recent = self._zeros((WINDOW,), self.wide)
            self.rows, self.slots = (
                self.xp.arange(n, dtype=self.index, device=self.native)
                for n in (batch_size, WINDOW)
            )
        self.scalar_count = len(optimizer.scalars(1, 1.0))
        self.kernel = update_kernel(
            optimizer.update,
            len(model.training_state.vectors),
            self.scalar_count,
            model.dtype,
            elementwise=optimizer.elementwise,
        )
        self.totals: Any = None
        self.scalars: Any = None  # the numbers of each step of the epoch
        self.order: Any = None  # of the rows on the device
        self.batch: Batch | None = None  # the static buffers for host data
        self.copies, self.verifies = True, verifies
        self.data: RowFeed | None = None  # the source of data on the device
        self.in_use: list[Batch] = []  # sources of copies that may not have finished
        self.graph = graph  # last, as it frees its memory after the arrays in it

    @property
    def is_captured(self) -> bool:
        """True once steps are launched as a graph."""
        return self.graph.is_captured

    def on_stream(self) -> AbstractContextManager[None]:
        """Return the context in which all other methods must be called."""
        return self.graph.on_stream()

    # -- an epoch --------------------------------------------------------------------------------

    def begin(self, scalars: Sequence[Sequence[float]], order: Any, data: RowFeed) -> None:
        """Load an epoch: the scalars of its steps and the order of its rows.

        Parameters
        ----------
        scalars : one sequence of numbers for each full batch
        order : int array (rows,) or None
        data : RowFeed
            The same at every call.
        """
        if self.data is None:
            self.data, self.copies = data, data.on_host
            self.scalars = self._zeros((len(scalars), self.scalar_count), self._float64)
            self.order = self._zeros((data.rows,), self.index)
        self.host_order = np.arange(data.rows) if order is None else order
        _write(self.scalars, self._from_host(scalars))
        _write(self.order, self.device.asarray(self.host_order, index_dtype(self.device)))
        if self.totals is not None:
            map_tree(lambda total: _write(total, self.xp.zeros_like(total)), self.totals)

    def begin_single(self, scalars: Sequence[float]) -> None:
        """Load the scalars of one step on a batch that is passed to `advance`."""
        if self.scalars is None:
            self.scalars = self._zeros((1, self.scalar_count), self._float64)
        _write(self.scalars, self._from_host([scalars]))

    def load(self, vectors: Vectors, optimizer_vectors: Tree, first: int, position: int) -> None:
        """Continue from these arrays, at this position of an epoch that began at update `first`."""
        buffers = (self.theta, self.others, self.optimizer_vectors)
        map_tree(_write, buffers, (*vectors, optimizer_vectors))
        number = index_dtype(self.device)
        _write(self.first, self.device.asarray(np.asarray([first]), number))
        _write(self.position, self.device.asarray(np.asarray([position]), number))

    def restart(self, window: Window) -> None:
        """Go back to the start of a window of this epoch."""
        first = window.start.step - window.first
        self.load(window.vectors, window.start.arrays, first, window.first)

    def advance(self, batch: Any) -> None:
        """Make one step: on this batch, or on the next rows of data on the device."""
        if self.copies:
            self._copy_in(batch)
        if self.verifies and self.graph.captures_next:
            self._capture_verified()
        else:
            self.graph(self._run)

    def _capture_verified(self) -> None:
        """Capture the step, and refuse the graph unless it does what the step does eagerly."""
        before = self._everything()
        self.graph(self._run)
        replayed = self._everything()
        map_tree(_write, self._changing, before)
        self.graph.run_eagerly(self._run)
        to_numpy = self.device.to_numpy
        fast, eager = ([to_numpy(a) for a in leaves(t)] for t in (replayed, self._changing))
        try:
            check_equal(fast, eager, self.model.compute_dtype or self.model.dtype)
        except ValueError as error:
            self.graph.refuse(error)

    @property
    def _changing(self) -> Tree:
        """All arrays that a step writes to."""
        return (
            self.theta, self.others, self.optimizer_vectors, self.recent, self.totals, self.position
        )  # fmt: skip

    def _everything(self) -> Tree:
        return self._copy(self._changing)

    def batches(self, position: int) -> Generator[Batch]:
        """Yield the batches of the epoch from a position on, gathered on the device."""
        assert self.data is not None
        for start in range(position * self.batch_size, self.data.rows, self.batch_size):
            stop = min(start + self.batch_size, self.data.rows)
            yield self._gathered(self.xp, self.order[start:stop])

    def losses(self, count: int) -> list[float]:
        """Return the losses of the last `count` steps; waits for them."""
        recent = self.device.to_numpy(self.recent).astype(np.float64)
        self.in_use = []
        return [float(value) for value in recent[:count]]

    def vectors(self) -> Vectors:
        """Return copies of the parameters."""
        theta, others = self._copy((self.theta, self.others))
        return theta, others

    def snapshot(self) -> tuple[Vectors, tuple[Array, ...]]:
        """Return copies of the parameters and the optimizer's vectors."""
        return self.vectors(), self._copy(self.optimizer_vectors)

    # -- the captured function -------------------------------------------------------------------

    def _run(self) -> None:
        xp, position = self.xp, self.position
        batch = self.batch
        if batch is None:
            rows = xp.take(self.order, position * self.batch_size + self.rows)
            batch = self._gathered(xp, rows)
        numbers = xp.take(self.scalars, position, axis=0)[0, ...]
        counter = xp.reshape(self.first + position, ())
        result = self._gradient(batch, counter)
        if self.model.scales_loss:
            loss = self._update_or_skip(result, numbers)
        else:
            loss = result.loss
            self._update(result.g, numbers)
            if result.state is not self.others:
                _write(self.others, result.state)
        slot = self.slots == position % WINDOW
        _write(self.recent, xp.where(slot, loss, self.recent))
        sums = (loss * result.weight, result.weight, result.sums)
        if self.totals is None:
            self.totals = map_tree(self._zero_like, sums)
        map_tree(_write, self.totals, merged(self.metrics, self.totals, sums, xp))
        _write(self.position, position + 1)

    def _gradient(self, batch: Batch, counter: Array) -> Gradient:
        """Return the gradient of the step, computed on arrays whose products can be captured."""
        scale = self.step.loss_scale(self.optimizer_vectors)
        theta, others, batch, counter, scale = self.graph.wrapped(
            (self.theta, self.others, batch, counter, scale)
        )
        result = self.step.gradient(theta, others, batch, counter, loss_scale=scale)
        unchanged = result.state is others
        plain: Gradient = self.graph.unwrapped(result)
        return plain._replace(state=self.others) if unchanged else plain

    def _update(self, g: Array, numbers: Array) -> None:
        if self.kernel is not None:
            self.kernel(self.theta, g, self.optimizer_vectors, numbers)
            return
        # `update` may return views of its arguments: copy before overwriting them
        updated = self._copy(self._updated(g, self.optimizer_vectors, numbers))
        map_tree(_write, (self.theta, self.optimizer_vectors), updated)

    def _updated(self, g: Array, vectors: Tree, numbers: Array) -> Any:
        """Return θ and the optimizer's vectors after the update, by its operations one by one."""
        graph = self.graph
        scalars = tuple(self.xp.astype(numbers[k], self.wide) for k in range(numbers.shape[0]))
        theta, g, vectors, scalars = graph.wrapped((self.theta, g, vectors, scalars))
        return graph.unwrapped(self.optimizer.update(theta, g, vectors, scalars, graph.xp))

    def _update_or_skip(self, result: Gradient, numbers: Array) -> Array:
        """Make the update unless a gradient has overflowed; return the loss, see `updated`."""
        *own, scaling = self.optimizer_vectors
        before = self.theta, self.others, tuple(own)
        if self.kernel is None:
            theta, vectors = self._updated(result.g, tuple(own), numbers)
        else:
            theta, vectors = self._copy((self.theta, tuple(own)))
            self.kernel(theta, self._copy(result.g), vectors, numbers)
        after = theta, result.state, vectors
        kept, new_scaling, loss = scaled_update(
            result.g, before, after, scaling, result.loss, self.xp
        )
        map_tree(_write, (before, scaling), (self._copy(kept), new_scaling))
        return loss

    def _gathered(self, xp: Any, rows: Array) -> Batch:
        data = self.data
        assert data is not None
        x, t, weight = map_tree(lambda a: xp.take(a, rows, axis=0), (data.x, data.t, data.weight))
        return Batch(map_tree(self._as_dtype, x, data.dtypes), t, weight)

    def _as_dtype(self, x: Array, name: str) -> Array:
        dtype = self.device.dtype(name)
        return x if x.dtype == dtype else self.xp.astype(x, dtype)

    def _copy_in(self, batch: Batch) -> None:
        if self.batch is None:
            self.batch = map_tree(self.xp.zeros_like, batch)
        for buffer, array in zip(leaves(self.batch), leaves(batch), strict=True):
            _write(buffer, array)
        self.in_use.append(batch)

    # -- arrays ----------------------------------------------------------------------------------

    @property
    def _float64(self) -> Any:
        return self.device.dtype("float64")

    def _from_host(self, numbers: Any) -> Array:
        return self.device.asarray(np.asarray(numbers, np.float64), "float64")

    def _copy(self, arrays: Tree) -> Any:
        return map_tree(lambda a: self.xp.asarray(a, device=self.native, copy=True), arrays)

    def _zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.xp.zeros(shape, dtype=dtype, device=self.native)

    def _zero_like(self, value: Any) -> Array:
        """Return zeros in float64, in which the sums of an epoch are right."""
        return self._zeros(getattr(value, "shape", ()), self._float64)


def _write(array: Array, values: Array) -> None:
    array[...] = values

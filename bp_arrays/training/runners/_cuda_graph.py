"""`CudaGraphRunner`: training on CUDA by steps that are captured as graphs.

Full batches run as a graph, a smaller last one as an eager step. The vectors of the model and the
optimizer are always copies, so that no step overwrites arrays that were returned to the user. If
the graph is refused, training continues operation by operation and logs the reason.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Any

from bp_arrays.data import Batch, Feed, RowFeed
from bp_arrays.training._evaluate import Sums, Totals
from bp_arrays.training._pauses import Pauses
from bp_arrays.training._progress import Progress
from bp_arrays.training._step import TrainingStep
from bp_arrays.training.runners._eager import EagerRunner
from bp_arrays.training.runners._runner import Window, first_not_finite
from bp_arrays.training.runners._static_step import WINDOW, StaticStep
from bp_arrays.trees import leaves

SHAPES = 2
"""The number of batch shapes for which `single_step` captures graphs; others run eagerly."""


class CudaGraphRunner(EagerRunner):
    """Steps captured as a graph without arguments; their losses are checked window by window.

    Parameters
    ----------
    step : TrainingStep
    """

    def __init__(self, step: TrainingStep) -> None:
        super().__init__(step, compiled=False)
        self.static: StaticStep | None = None
        self.singles: dict[Any, StaticStep] = {}

    @property
    def compiled_by(self) -> str:
        captured = any(
            s is not None and s.is_captured for s in (self.static, *self.singles.values())
        )
        return "CUDA graph" if captured else ""

    def epoch(
        self, feed: Feed, batch_size: int, order: Any, bar: Progress, pauses: Pauses
    ) -> dict[str, float]:
        if self.has_custom_parts:  # what they read from Python may have changed since
            self.static = None
        if self.static is None and isinstance(feed, RowFeed) and _can_be_static(feed, batch_size):
            self.static = self._static_step(batch_size)
        static = self.static
        if static is None or not isinstance(feed, RowFeed):
            return super().epoch(feed, batch_size, order, bar, pauses)
        totals = self.new_totals(pauses)
        with static.on_stream():
            before = self.state.step
            try:
                rate = self._full_batches(static, feed, order, bar, pauses)
            except Exception as error:
                if not self.has_custom_parts or self.state is None or self.state.step != before:
                    raise
                self.refuse("steps run operation by operation, not as a CUDA graph", error)
                self.static = None
            else:
                return self._rest_of_epoch(static, feed, totals, rate, bar, pauses)
        return super().epoch(feed, batch_size, order, bar, pauses)

    def _rest_of_epoch(
        self,
        static: StaticStep,
        feed: RowFeed,
        totals: Totals,
        rate: float,
        bar: Progress,
        pauses: Pauses,
    ) -> dict[str, float]:
        full = feed.rows // static.batch_size
        if pauses.start < full:
            totals.add(*static.totals)
        else:  # an earlier run has trained on all full batches
            rate = self.last_rate()
        if feed.rows % static.batch_size and pauses.start <= full:
            rate = self._smaller_batch(static, feed, totals, bar)
            pauses.begin(totals.sums)
            if pauses.is_due(self.state.step):
                pauses.pause()
        self.refused = static.graph.refused
        return totals.values() | {"learning_rate": rate}

    def _static_step(self, batch_size: int) -> StaticStep | None:
        """Return the step of this training run; None if CUDA refuses it."""
        if self.refused:
            return None
        try:
            return StaticStep(self.step, batch_size, verifies=self.has_custom_parts)
        except Exception as error:  # no library or no memory; an eager step needs less of both
            self.refuse("steps run operation by operation, not as a CUDA graph", error)
            return None

    def _full_batches(
        self, static: StaticStep, feed: RowFeed, order: Any, bar: Progress, pauses: Pauses
    ) -> float:
        model, state = self.model, self.state
        full, done = feed.rows // static.batch_size, pauses.start
        first = state.step - done  # the number of updates before the epoch
        rates = [self.optimizer.rate(first + k, state.monitored) for k in range(full)]
        scalars = [self.optimizer.scalars(first + k + 1, rates[k]) for k in range(full)]
        static.begin(scalars, order, feed)
        static.load(model.current_vectors(), state.arrays, first, done)
        self.window = Window(state, model.current_vectors(), done)

        def sums() -> Sums | None:
            so_far = self.new_totals(pauses)
            so_far.add(*static.totals)
            return so_far.sums()

        def up_to_date() -> None:
            vectors, optimizer_vectors = static.snapshot()
            model.set_vectors(*vectors)
            model.training_state = state.after(optimizer_vectors, first + done)

        pauses.begin(sums)
        with closing(self._host_batches(static, feed, done)) as batches:
            try:
                while done < full:
                    vectors, optimizer_vectors = static.snapshot()
                    start = state.after(optimizer_vectors, first + done)
                    window = Window(start, vectors, done)
                    count = int(min(WINDOW, full - done, pauses.steps_left(first + done)))
                    for _ in range(count):
                        static.advance(next(batches))
                        done += 1
                    losses = static.losses(count)
                    bad = first_not_finite(losses)
                    if bad is not None:
                        self._stop(static, feed, window, bad)
                    self.good = vectors
                    self.window = window
                    bar.steps(count, losses[-1], rates[done - 1])
                    if pauses.is_due(first + done):
                        up_to_date()
                        pauses.pause()
            finally:
                if model.training_state is not None:
                    up_to_date()
        return rates[-1]

    def _smaller_batch(
        self, static: StaticStep, feed: RowFeed, totals: Totals, bar: Progress
    ) -> float:
        """Make an eager step on the remaining rows."""
        before = self.model.current_vectors()
        full = feed.rows // static.batch_size
        with closing(self._all_batches(static, feed, full)) as batches:
            rate, loss, sums = self.advance(next(batches))
        value = float(self.model.device.to_numpy(loss))
        if first_not_finite([value]) is not None:
            self._stop(static, feed, self.window, full - self.window.first)
        self.good = before
        totals.add(*sums)
        bar.steps(1, value, rate)
        return rate

    def _stop(self, static: StaticStep, feed: RowFeed, window: Window, bad: int) -> None:
        with closing(self._all_batches(static, feed, window.first)) as batches:
            self.stop_in_window(static, window, bad, batches, self.good)

    def _host_batches(self, static: StaticStep, feed: RowFeed, position: int) -> Generator[Any]:
        """Yield batches to copy to the device; None for each if the rows are on it already."""
        if not feed.on_host:
            while True:
                yield None
        with static.graph.on_default_stream():  # prefetched there, by another thread
            batches = feed.epoch(static.batch_size, static.host_order, position)
        with closing(batches):
            for _ in range(position, -(-feed.rows // static.batch_size)):
                with static.graph.on_default_stream():
                    batch = next(batches)
                static.graph.wait_for()
                yield batch

    def _all_batches(self, static: StaticStep, feed: RowFeed, position: int) -> Generator[Batch]:
        """Yield the batches of the epoch from a position on."""
        if feed.on_host:
            return self._host_batches(static, feed, position)
        return static.batches(position)

    def single_step(self, batch: Batch) -> float:
        static = self._static_for(batch)
        if static is None:
            return super().single_step(batch)
        model, state = self.model, self.state
        _, scalars = self.next_scalars()
        with static.on_stream():
            before = model.current_vectors()
            static.begin_single(scalars)
            static.load(before, state.arrays, state.step, 0)
            static.advance(batch)
            [loss] = static.losses(1)
            if first_not_finite([loss]) is not None:
                self.stop(batch, 0, state, before, self.good)
            vectors, optimizer_vectors = static.snapshot()
            model.set_vectors(*vectors)
            model.training_state = state.after(optimizer_vectors, state.step + 1)
        self.good, self.refused = before, static.graph.refused
        return loss

    def _static_for(self, batch: Batch) -> StaticStep | None:
        """Return the step for batches of these shapes; None if there are too many shapes."""
        key = tuple((tuple(a.shape), str(a.dtype)) for a in leaves(batch))
        if key not in self.singles and len(self.singles) < SHAPES and not self.refused:
            static = self._static_step(key[0][0][0])
            if static is not None:
                self.singles[key] = static
        return self.singles.get(key)


def _can_be_static(feed: RowFeed, batch_size: int) -> bool:
    """Return True if there is a full batch, of arrays on the device or on the host."""
    return feed.rows >= batch_size and (feed.on_host or not feed.t_on_disk)

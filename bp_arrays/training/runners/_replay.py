"""`ReplayRunner`: training on NumPy by recorded operations that update the parameters in place.

Memory during a step: the parameters, their gradient, the optimizer's state, and the activations.
The update keeps the old θ in g: if the next loss is not finite, training goes back to it without
additional memory.
"""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np

from bp_arrays.data import Batch, Feed
from bp_arrays.execution import InPlaceUpdate, fast_numpy
from bp_arrays.training._parts import draws_random_numbers
from bp_arrays.training._pauses import Pauses
from bp_arrays.training._progress import Progress
from bp_arrays.training._step import TrainingStep
from bp_arrays.training.runners._replayed_pass import (
    EagerPass,
    PartOf,
    Recording,
    ReplayedPass,
    shapes_of,
)
from bp_arrays.training.runners._reuse import (
    Passes,
    keep_passes,
    keep_recording,
    recordings,
    take_passes,
)
from bp_arrays.training.runners._runner import Runner, Vectors, check_equal
from bp_arrays.training.runners._step_threads import StepThreads
from bp_arrays.typing import HostArray

RECORDINGS = 4
"""The number of batch shapes that are recorded per training run; others run eagerly."""

Pass = EagerPass | ReplayedPass


class ReplayRunner(Runner):
    """A runner whose steps update θ and the optimizer's state in place.

    Parameters
    ----------
    step : TrainingStep
    compiled : bool
        Whether steps may be replayed and updates compiled.
    key : bytes, optional
        The `step_key` under which recordings are kept.
    """

    def __init__(
        self, step: TrainingStep, *, compiled: bool = True, key: bytes | None = None
    ) -> None:
        super().__init__(replace(step, xp=fast_numpy))
        optimizer = self.optimizer
        self.update = InPlaceUpdate(
            optimizer.update,
            states=len(self.state.vectors),
            scalars=len(optimizer.scalars(1, 1.0)),
            elementwise=optimizer.elementwise,
            dtype=self.model.dtype,
            xp=fast_numpy,
            compiled=compiled,
        )
        self.records = compiled
        self._key = key if compiled and not self.has_custom_parts else None
        self._passes = take_passes(self.model, self._key)
        self._threads = StepThreads()
        self.theta, self.others = self.model.own_vectors()
        self.g: HostArray = np.empty_like(self.theta)
        for batch_pass in self.recorded.values():
            batch_pass.bind(self.theta, self.others, self.g)
        self.eager = EagerPass(self.step, self.theta, self.others, self.g)
        self.draws_random_numbers = draws_random_numbers(self.step.objective.net)
        self.can_go_back = False  # whether g holds the parameters before the last update
        self.good_others: HostArray | None = None  # the others then, where steps change them

    @property
    def recorded(self) -> dict[Any, ReplayedPass]:
        """The replayed passes by the shapes of a batch."""
        return self._passes.by_shape

    @property
    def compiled_by(self) -> str:
        return "recorded step" if self.recorded else ""

    @property
    def blas_threads(self) -> int | None:
        return self._threads.number

    def keep(self) -> None:
        keep_passes(self.model, self._key, self._passes)
        self._passes = Passes()

    def epoch(
        self, feed: Feed, batch_size: int, order: Any, bar: Progress, pauses: Pauses
    ) -> dict[str, float]:
        totals = self.new_totals(pauses)
        optimizer, state = self.optimizer, self.state
        count, rate = state.step, self.last_rate()
        pauses.begin(totals.sums)
        self._take_memory()
        if self.has_custom_parts:  # what they read from Python may have changed since
            self.recorded.clear()
        self._announce_steps()
        theta, g, vectors = self.theta, self.g, state.vectors
        batches = pauses.batches(feed, batch_size, order)
        # bits depend on the number of threads: a run that is to be repeated may not measure it
        threads_in_use = self._threads.choosing(allowed=pauses.measures)
        with closing(batches), threads_in_use as threads:
            try:
                for index, batch in enumerate(batches, pauses.start):
                    rate = optimizer.rate(count, state.monitored)
                    run = self._pass_for(batch, count)
                    threads.begin(run)
                    loss, weight, sums = run.forward(batch, count)
                    if not math.isfinite(loss):
                        self._go_back(batch, index, replace(state, step=count))
                    if run.updates_state:
                        self.good_others = self.others.copy()
                    run.backward()
                    self.update(theta, g, vectors, optimizer.scalars(count + 1, rate))
                    threads.end()
                    self.can_go_back = True
                    count += 1
                    totals.add(loss * weight, weight, sums)
                    bar.steps(1, loss, rate)
                    if pauses.is_due(count):
                        self.model.training_state = replace(state, vectors=vectors, step=count)
                        pauses.pause(batch)
            finally:
                if self.model.training_state is not None:
                    self.model.training_state = replace(state, step=count)
        return totals.values() | {"learning_rate": rate}

    def single_step(self, batch: Batch) -> float:
        state = self.state
        self._take_memory()
        run = self._pass_for(batch, state.step)
        _, scalars = self.next_scalars()
        with self._threads.choosing() as threads:
            threads.begin(run)
            loss, _, _ = run.forward(batch, state.step)
            if not math.isfinite(loss):
                self._go_back(batch, 0, state)
            if run.updates_state:
                self.good_others = self.others.copy()
            run.backward()
            self.update(self.theta, self.g, state.vectors, scalars)
            threads.end()
        self.can_go_back = True
        self.model.training_state = replace(state, step=state.step + 1)
        return loss

    def _take_memory(self) -> None:
        """Train in memory of the model alone, so that returned arrays keep their values."""
        vectors = self.model.own_vectors()
        if vectors[0] is self.theta and vectors[1] is self.others:
            return
        if vectors[0] is not self.theta:
            self.can_go_back = False
        self.theta, self.others = vectors
        self.good_others = None
        self._bind_passes()

    def _bind_passes(self) -> None:
        passes: list[Pass] = [self.eager, *self.recorded.values()]
        for batch_pass in passes:
            batch_pass.bind(self.theta, self.others, self.g)

    def _announce_steps(self) -> None:
        """Tell what is compiled when it is worth it how many steps are to come."""
        self.update.steps_to_come = self.steps_to_come
        for recorded in self.recorded.values():
            recorded.steps_to_come = self.steps_to_come

    def _pass_for(self, batch: Batch, counter: int, part: PartOf | None = None) -> Pass:
        """Return the replayed pass for this batch shape, or the eager one."""
        if not self.records:
            return self.eager
        x, t, weight = batch
        if isinstance(x, np.ndarray) and isinstance(t, np.ndarray):  # the usual case, inlined
            key: Any = x.shape, x.dtype.char, t.shape, t.dtype.char
            if weight is not None:
                key = *key, weight.shape, weight.dtype.char
        else:
            key = shapes_of(batch)
        if part is not None and self.draws_random_numbers:
            key = *key, part.rows.total  # which the masks depend on
        if key not in self.recorded:
            if len(self.recorded) == RECORDINGS:
                return self.eager
            try:
                self.recorded[key] = self._new_pass(key, batch, counter, part)
            except Exception as error:  # a mistake in a layer is reported by the eager pass
                self.refuse("steps run operation by operation, they cannot be replayed", error)
                self.records = False
                return self.eager
            self.recorded[key].steps_to_come = self.steps_to_come
        return self.recorded[key]

    def _new_pass(self, key: Any, batch: Batch, counter: int, part: PartOf | None) -> ReplayedPass:
        """Record a step, or reuse its recording; compare custom parts with the eager pass."""
        full_key = None if self._key is None else (self._key, key)
        recording = None if full_key is None else recordings.get(full_key)
        if recording is None:
            recording = Recording(self.step, batch, self.theta, self.others, self.g, part)
            if full_key is not None:
                keep_recording(full_key, recording)
        recorded = ReplayedPass(recording, self.theta, self.others, self.g, self._passes.arena)
        if self.has_custom_parts:
            self._compare(recorded, batch, counter, part)
        return recorded

    def _compare(
        self, recorded: ReplayedPass, batch: Batch, counter: int, part: PartOf | None
    ) -> None:
        """Raise ValueError unless the replayed and the eager step have equal results."""
        before, state = self.g.copy(), self.others.copy()
        results = []
        for run in (recorded, self.eager):
            measured = run.forward(batch, counter, part)
            run.backward()
            results.append([self.g.copy(), self.others.copy(), *_numbers(measured)])
            self.g[...], self.others[...] = before, state
        replayed, eager = results
        check_equal(replayed, eager, self.model.compute_dtype or self.model.dtype)

    def _go_back(self, batch: Batch, index: int, state: Any) -> None:
        """Restore the last parameters with a finite loss, and raise NonFiniteLossError."""
        self.stop(batch, index, state, (self.theta, self.others), self.last_good())

    def last_good(self) -> Vectors:
        if not self.can_go_back:
            return self.theta.copy(), self.others
        return self.g.copy(), self.others if self.good_others is None else self.good_others


def _numbers(measured: Any) -> list[Any]:
    loss, weight, sums = measured
    return [loss, weight, *(number for parts in sums for number in parts)]

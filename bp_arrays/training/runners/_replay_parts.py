"""`ReplayPartsRunner`: training on NumPy in parts, each a recorded step, with a sum between.

The parts write ω_p g_p to one vector, with the sums of `_parts.Sums` at its end; one sum over the
processes makes the gradient of the whole batch of it, and then the update runs in place as ever.
Two vectors receive the sums in turn: one keeps the old θ until the loss of the next batch, which is
known after its sum, is finite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np

from bp_arrays.data import Batch, Feed
from bp_arrays.errors import NonFiniteLossError
from bp_arrays.losses import CombinedLoss
from bp_arrays.model import PartFactors
from bp_arrays.random import BatchPart
from bp_arrays.training._parts import EXTRAS, Division, Part, Sums, combined_shares
from bp_arrays.training._pauses import Pauses
from bp_arrays.training._progress import Progress
from bp_arrays.training._step import TrainingStep
from bp_arrays.training.runners._replay import ReplayRunner
from bp_arrays.training.runners._replayed_pass import PartOf
from bp_arrays.training.runners._reuse import parts_key
from bp_arrays.training.runners._runner import Vectors
from bp_arrays.typing import HostArray

Measured = list[tuple[int, tuple[tuple[Any, ...], ...]]]
"""The number of rows of each part, and the sums of its metrics."""


class ReplayPartsRunner(ReplayRunner):
    """A runner whose updates are by the gradients of several parts of a batch.

    Parameters
    ----------
    step : TrainingStep
    division : Division
    compiled : bool
        Whether steps may be replayed and updates compiled.
    key : bytes, optional
        The `step_key` under which recordings are kept.
    """

    def __init__(
        self,
        step: TrainingStep,
        division: Division,
        *,
        compiled: bool = True,
        key: bytes | None = None,
    ) -> None:
        self.penalty = step.objective.penalty
        without = replace(step, objective=replace(step.objective, penalty=None))
        super().__init__(without, compiled=compiled, key=parts_key(key))
        self.division, self.group = division, division.group
        self.is_mean = step.objective.loss.reduction == "mean"
        self.wide = np.result_type(self.theta.dtype, np.float32)
        self.size = size = self.theta.size
        self.length = size + self.others.size + EXTRAS
        self.sums = [np.zeros(self.length, self.wide) for _ in range(2)]
        self.gradients = [vector[:size] for vector in self.sums]
        if self.theta.dtype != self.wide:
            self.gradients = [np.zeros_like(self.theta) for _ in range(2)]
        self.turn = 0  # the vector of `sums` for the next batch
        self.sent: HostArray | None = None
        if self.group is not None:
            self.sent = np.zeros(self.length, self.wide)
        # the recorded steps write to the vector that is sent, where nothing is added up before
        self.is_direct = (
            self.sent is not None and division.accumulate == 1 and self.theta.dtype == self.wide
        )
        if self.sent is not None and self.is_direct:
            self.g = self.sent[:size]
            self._bind_passes()

    def epoch(
        self, feed: Feed, batch_size: int, order: Any, bar: Progress, pauses: Pauses
    ) -> dict[str, float]:
        totals = self.new_totals(pauses)
        optimizer, state, division = self.optimizer, self.state, self.division
        count, rate = state.step, self.last_rate()
        pauses.begin(totals.sums)
        self._take_memory()
        if self.has_custom_parts:  # what they read from Python may have changed since
            self.recorded.clear()
        self._announce_steps()
        updates = division.remaining_updates(feed, batch_size, order, pauses)
        done = pauses.start
        threads_in_use = self._threads.choosing(allowed=pauses.measures)  # see ReplayRunner.epoch
        with closing(updates), threads_in_use:
            try:
                for parts in updates:
                    rate = optimizer.rate(count, state.monitored)
                    scalars = optimizer.scalars(count + 1, rate)
                    due = pauses.is_due(count + 1)
                    loss, weight, measured, due = self._update(parts, done, count, scalars, due)
                    count, done = count + 1, done + 1
                    for rows, sums in measured:
                        share = weight * rows / parts[0].total
                        totals.add(loss * share, share, sums)
                    bar.steps(1, loss, rate)
                    if due:
                        self.model.training_state = replace(state, step=count)
                        division.pause(pauses, totals, parts)
            finally:
                if self.model.training_state is not None:
                    self.model.training_state = replace(state, step=count)
        division.check_end(feed, self._rows_of_others)
        if any(division.gathered(pauses.interrupts.pending)):
            division.pause(pauses, totals)
        return totals.values(self.group) | {"learning_rate": rate}

    def _rows_of_others(self) -> float:
        assert self.group is not None
        received = np.zeros(self.length, self.wide)
        self.group.sum_into(np.zeros_like(received), received)
        return Sums(*received[-EXTRAS:].tolist()).rows

    def single_step(self, batch: Batch) -> float:
        self._take_memory()
        state = self.state
        parts = [self.division.part_of(batch)]
        _, scalars = self.next_scalars()
        with self._threads.choosing():
            loss, _, _, _ = self._update(parts, 0, state.step, scalars, False)
        self.model.training_state = replace(state, step=state.step + 1)
        return loss

    def last_good(self) -> Vectors:
        if not self.can_go_back:
            return self.theta.copy(), self.others
        others = self.others if self.good_others is None else self.good_others
        return self.gradients[1 - self.turn].copy(), others

    # -- one update ----------------------------------------------------------------------------

    def _update(
        self,
        parts: Sequence[Part],
        index: int,
        count: int,
        scalars: tuple[float, ...],
        due: bool,
    ) -> tuple[float, float, Measured, bool]:
        """Make the update number `index` of the epoch.

        Returns
        -------
        loss, weight : float
            Of the whole batch.
        measured : list
            The sums of the metrics of this process's parts.
        due : bool
            Whether one of the processes has to pause.
        """
        summed = self.sums[self.turn]
        vector = summed if self.sent is None else self.sent
        measured, bad = self._gradients(parts, vector, count)
        vector[-1] = due
        if self.group is not None:
            self.group.sum_into(vector, summed)
        total = Sums(*summed[-EXTRAS:].tolist())
        self._check_rows(total, parts)
        g, weight = summed[: self.size], total.weight if self.is_mean else 1.0
        loss = total.loss
        if self.is_mean and total.omega not in (0.0, 1.0):
            g /= total.omega
            loss /= total.omega
        if self.penalty is not None:
            value, gradient = self.penalty(self.theta, np.asarray(weight), np)
            loss += float(value)
            g += gradient
        if not math.isfinite(loss):
            self._go_back_together(parts, bad, index, count)
        if self.others.size:
            self.good_others = self.others.copy()
            self.others += summed[self.size : -EXTRAS].astype(self.others.dtype)
        if g.dtype != self.theta.dtype:
            self.gradients[self.turn][...] = g
        self.update(self.theta, self.gradients[self.turn], self.state.vectors, scalars)
        self.can_go_back, self.turn = True, 1 - self.turn
        return loss, weight, measured, total.due > 0.0

    def _gradients(
        self, parts: Sequence[Part], vector: HostArray, count: int
    ) -> tuple[Measured, Part | None]:
        """Write the sum over the parts to a vector; return the sums of the metrics, and the first
        part whose loss is not finite."""
        size, bad = self.size, None
        measured: Measured = []
        if self.is_direct:
            vector[size:] = 0.0
            if parts[0].batch is None:
                vector[:size] = 0.0
        else:
            vector[...] = 0.0
        before = self.others.copy() if self.others.size else None
        for part, numbers in zip(parts, self._numbers(parts), strict=True):
            if part.batch is None:
                continue
            run = self._pass_for(part.batch, count, numbers)
            self._threads.begin(run)
            loss, weight, sums = run.forward(part.batch, count, numbers)
            if bad is None and not math.isfinite(loss):
                bad = part
            omega = (weight if run.has_divisor else part.rows) / part.total if self.is_mean else 1.0
            value = loss * omega if omega else 0.0
            vector[-EXTRAS:-1] += np.asarray((omega, value, weight, part.rows), self.wide)
            # a copy, as the pass of the next part writes to the same memory
            measured.append((part.rows, sums if len(parts) == 1 else deepcopy(sums)))
            run.backward()
            self._threads.end()
            if not self.is_direct:
                vector[:size] += self.g
            if before is not None and run.updates_state:
                change = self.others.astype(self.wide) - before
                vector[size:-EXTRAS] += change * (part.rows / part.total)
                self.others[...] = before
        return measured, bad

    def _numbers(self, parts: Sequence[Part]) -> list[PartOf]:
        """Return the rows and the factors of each part."""
        shares: Sequence[Any] = [None] * len(parts)
        loss = self.step.objective.loss
        if isinstance(loss, CombinedLoss):
            shares = combined_shares(parts, self.model, loss, self.division)
        return [
            PartOf(
                BatchPart(np.asarray([part.first], np.int32), part.rows, part.total),
                PartFactors(
                    np.asarray([1.0 / part.total], self.wide),
                    None if share is None else np.asarray(share, self.wide),
                ),
            )
            for part, share in zip(parts, shares, strict=True)
        ]

    def _check_rows(self, total: Sums, parts: Sequence[Part]) -> None:
        self.division.check_rows(total.rows, parts[0].total)

    def _go_back_together(
        self, parts: Sequence[Part], bad: Part | None, index: int, count: int
    ) -> None:
        """Restore the last parameters with a finite loss, and raise NonFiniteLossError.

        The process that has the first layer at fault tells the others.
        """
        state, good = replace(self.state, step=count), self.last_good()
        part = bad or next((part for part in parts if part.batch is not None), None)
        message = None
        if part is not None and part.batch is not None:
            try:
                self.stop(part.batch, index, state, (self.theta, self.others), good)
            except NonFiniteLossError as error:
                message = str(error)
        self.model.set_vectors(*good)
        self.model.training_state = None
        messages = self.division.gathered((message, bad is not None))
        texts = [text for text, _ in sorted(messages, key=lambda m: not m[1]) if text is not None]
        raise NonFiniteLossError(texts[0])

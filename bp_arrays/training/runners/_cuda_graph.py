"""Training on CUDA by launching steps that were captured as graphs.

Full batches go through the graph, a smaller last one through a plain step. What leaves the
training, the model's vector and state, is always a copy: no step writes over what somebody was
given. Should the graph refuse, everything goes on operation by operation, and the log says so.

Not proven on hardware yet: no run on a GPU is recorded (see benchmarks/README.md).
"""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any, NamedTuple

from bp_arrays.data import Feed, RowFeed
from bp_arrays.optimizers import TrainingState
from bp_arrays.training._evaluate import Totals
from bp_arrays.training._non_finite import non_finite_loss
from bp_arrays.training._progress import Progress
from bp_arrays.training.runners._eager import WINDOW, FunctionalTrainer
from bp_arrays.training.runners._static_step import Kept, StandingStep

logger = logging.getLogger("bp_arrays")


class Window(NamedTuple):
    """Steps between two looks at the losses: the epoch's first state, where they begin, and
    from what."""

    state: TrainingState
    start: int
    before: Kept


class CapturedTrainer(FunctionalTrainer):
    """Steps that a graph repeats without being told anything; looked at every `WINDOW` steps."""

    def __init__(self, *of: Any) -> None:
        super().__init__(*of)
        self.standing: StandingStep | None = None
        self.refused = False
        self.window: Window

    @property
    def compiled_by(self) -> str:
        return "CUDA graph" if self.standing is not None and self.standing.is_captured else ""

    def epoch(self, batches: Feed, batch_size: int, order: Any, bar: Progress) -> dict[str, float]:
        standing = None
        if isinstance(batches, RowFeed) and _can_stand(batches, batch_size):
            standing = self._standing(batches, batch_size)
        if standing is None:
            return super().epoch(batches, batch_size, order, bar)
        totals = Totals(self.loss, self.metrics)
        with standing.entered():
            rate = self._full_batches(standing, order, bar)
            totals.add(*standing.sums())
            if standing.batches.rows % batch_size:
                rate = self._smaller_batch(standing, totals, bar)
            return totals.values(self.model.device) | {"learning_rate": rate}

    def _standing(self, batches: RowFeed, batch_size: int) -> StandingStep | None:
        """The step of this training, made in its first epoch; None where CUDA refuses it."""
        if self.standing is None and not self.refused:
            try:
                self.standing = StandingStep(self, batches, batch_size)
            except Exception as error:  # no library or no memory; the plain way needs less
                self.refused = True
                logger.warning(
                    "%s: steps run operation by operation, not as a CUDA graph: %s",
                    self.model.device,
                    " ".join(str(error).split()),
                )
        return self.standing

    def _full_batches(self, standing: StandingStep, order: Any, bar: Progress) -> float:
        model, state, full = self.model, self.state, standing.full
        rates = [self.optimizer.rate(state.step + k, state.monitored) for k in range(full)]
        numbers = [self.optimizer.scalars(state.step + k + 1, rates[k]) for k in range(full)]
        standing.begin(model.vector, state.vectors, state.step, numbers, order)
        done = 0
        try:
            while done < full:
                self.window = Window(state, done, standing.kept())
                count = min(WINDOW, full - done)
                for _ in range(count):
                    standing.advance()
                    done += 1
                losses = standing.losses(count)
                bad = [k for k, value in enumerate(losses) if not math.isfinite(value)]
                if bad:
                    self._go_back(standing, bad[0])
                self.good = self.window.before[0]
                bar.steps(count, losses[-1], rates[done - 1])
        finally:
            if model.training_state is not None:
                model.vector, vectors = standing.kept()
                model.training_state = replace(state, vectors=vectors, step=state.step + done)
        return rates[-1]

    def _smaller_batch(self, standing: StandingStep, totals: Totals, bar: Progress) -> float:
        """The rows that are left, by a plain step."""
        model, theta = self.model, self.model.vector
        rate, value, sums = self._advance(standing.next_batch())
        loss = float(model.device.to_numpy(value))
        if not math.isfinite(loss):
            self._go_back(standing, standing.full - self.window.start)
        self.good = theta
        totals.add(*sums)
        bar.steps(1, loss, rate)
        return rate

    def _go_back(self, standing: StandingStep, bad: int) -> None:
        """Repeat the steps before the one at fault, `bad` after the window's start, and tell."""
        model, good, window = self.model, self.good, self.window
        standing.restart(window.before, window.start)
        for _ in range(bad):
            good, _ = standing.kept()
            standing.advance()
        index = window.start + bad
        state = replace(window.state, step=window.state.step + index + 1)
        batch = standing.next_batch()
        error = non_finite_loss(model, self.loss, standing.theta, batch, state, index)
        model.vector, model.training_state = good, None
        raise error


def _can_stand(batches: RowFeed, batch_size: int) -> bool:
    """Whether there is a full batch, in arrays that are on the device or come from the host."""
    return batches.rows >= batch_size and (batches.on_host or not batches.t_on_disk)

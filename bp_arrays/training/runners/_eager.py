"""Training by pure steps: new parameters from old ones, as compilers and accelerators like it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

from bp_arrays.data import Batch, Feed
from bp_arrays.execution import compile_step
from bp_arrays.layers import Context
from bp_arrays.random import Stream
from bp_arrays.training._evaluate import Totals, batch_sums, mean_weight
from bp_arrays.training._non_finite import non_finite_loss
from bp_arrays.training._progress import Progress
from bp_arrays.training._step import objective_of
from bp_arrays.training.runners._runner import Trainer
from bp_arrays.typing import Namespace

WINDOW = 32
"""Steps that an asynchronous device is given before their losses are looked at."""


class FunctionalTrainer(Trainer):
    """Each step makes a new parameter vector; what was, is kept by holding on to it."""

    def __init__(self, *of: Any) -> None:
        super().__init__(*of)
        model = self.model
        self.good = model.vector  # the last parameters whose loss was seen to be finite
        self.step = compile_step(self._make_step(), model.device, model.dtype)

    @property
    def compiled_by(self) -> str:
        return "jax.jit" if self.model.device.backend == "jax" else ""

    def _make_step(self) -> Callable[..., Any]:
        """One step as a pure function of parameters, state, batch, scalars and step number."""
        optimizer, xp = self.optimizer, self.model.device.xp
        gradient = self._make_gradient(xp)

        def step(
            theta: Any, vectors: Any, batch: Batch, scalars: tuple[Any, ...], counter: Any
        ) -> tuple[Any, Any, Any, Any]:
            value, g, sums = gradient(theta, batch, counter)
            theta, vectors = optimizer.update(theta, g, vectors, scalars, xp)
            return theta, vectors, value, sums

        return step

    def _make_gradient(self, xp: Namespace) -> Callable[[Any, Batch, Any], tuple[Any, Any, Any]]:
        """(θ, batch, step number) -> (loss, its gradient, what the batch adds to the epoch)."""
        model, loss, metrics = self.model, self.loss, self.metrics
        objective, penalize, seed = objective_of(model, loss, xp), self.penalize, self.seed
        native = None if model.device.backend == "jax" else model.device.native

        def gradient(theta: Any, batch: Batch, counter: Any) -> tuple[Any, Any, Any]:
            context = Context(
                xp,
                native,
                training=True,
                needs_input_gradient=False,
                random=Stream(xp, native, seed, counter),
            )
            value, g, y = objective(theta, batch, context)
            if penalize is not None:
                added, its_gradient = penalize(theta, mean_weight(y, batch, loss, context))
                value, g = value + added, g + its_gradient
            return value, g, batch_sums(value, y, batch, loss, metrics, context)

        return gradient

    def epoch(self, batches: Feed, batch_size: int, order: Any, bar: Progress) -> dict[str, float]:
        model = self.model
        window = WINDOW if model.device.is_asynchronous else 1
        totals = Totals(self.loss, self.metrics)
        pending: list[tuple[int, Any, Batch | None]] = []
        rate = 0.0
        before = (model.vector, self.state)
        with model.device.activate():
            for index, batch in enumerate(batches.epoch(batch_size, order)):
                if not pending:
                    before = (model.vector, self.state)
                rate, value, sums = self._advance(batch)
                totals.add(*sums)
                pending.append((index, value, None if batches.repeats else batch))
                if len(pending) < window:
                    continue
                bar.steps(window, self._check(pending, before, batches, batch_size, order), rate)
                pending = []
            if pending:
                last = self._check(pending, before, batches, batch_size, order)
                bar.steps(len(pending), last, rate)
            return totals.values(model.device) | {"learning_rate": rate}

    def _advance(self, batch: Batch) -> tuple[float, Any, Any]:
        model, state = self.model, self.state
        rate = self.optimizer.rate(state.step, state.monitored)
        scalars = self.optimizer.scalars(state.step + 1, rate)
        theta, vectors, value, sums = self.step(
            model.vector, state.vectors, batch, scalars, state.step
        )
        model.vector = theta
        model.training_state = replace(state, vectors=vectors, step=state.step + 1)
        return rate, value, sums

    def _check(
        self, pending: Any, before: Any, batches: Feed, batch_size: int, order: Any
    ) -> float:
        """Look at the losses of the steps just done; raise if one of them is not finite."""
        model, device = self.model, self.model.device
        losses = [float(device.to_numpy(value)) for _, value, _ in pending]
        if all(math.isfinite(value) for value in losses):
            self.good = before[0]
            return losses[-1]
        # Go back to before these steps and repeat them one by one, up to the one at fault.
        model.vector, model.training_state = before
        again: Any = ((index, batch) for index, _, batch in pending)
        if batches.repeats:
            first = pending[0][0]
            again = islice(enumerate(batches.epoch(batch_size, order)), first, None)
        for index, batch in again:
            theta = model.vector
            _, value, _ = self._advance(batch)
            if not math.isfinite(float(device.to_numpy(value))):
                error = non_finite_loss(model, self.loss, theta, batch, self.state, index)
                model.vector, model.training_state = self.good, None
                raise error
            self.good = theta
        raise AssertionError("a loss that was not finite became finite when it was repeated")

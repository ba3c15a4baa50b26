"""The steps of a training, and what they need to go on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bp_arrays.execution import block_update, compile_step
from bp_arrays.layers import Context
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.optimizers import Optimizer
from bp_arrays.random import Stream
from bp_arrays.training.batches import Batch, Batches
from bp_arrays.training.diagnosis import non_finite_loss
from bp_arrays.training.evaluating import Totals, batch_sums, mean_weight
from bp_arrays.training.metrics import Metric
from bp_arrays.training.penalty import L2Penalty
from bp_arrays.training.progress import Progress
from bp_arrays.training.state import TrainingState
from bp_arrays.typing import Array

WINDOW = 32
"""Steps that an asynchronous device is given before their losses are looked at."""


def objective_of(
    model: Model, loss: Loss
) -> Callable[[Array, Batch, Context], tuple[Array, Array, Array]]:
    """The function (θ, batch, context) -> (loss, its gradient by θ, output y) of a model."""
    net, layout, fixed, xp = model.net, model.layout, model.fixed_vector, model.device.xp

    def objective(theta: Array, batch: Batch, context: Context) -> tuple[Array, Array, Array]:
        y, backward = net.forward(layout.tree(theta, fixed, xp), batch.x, context)
        value, loss_backward = loss.forward(y, batch.t, context, batch.weight)
        _, gradients = backward(loss_backward())
        return value, layout.gather(gradients, xp), y

    return objective


class Trainer:
    """A model, a loss and an optimizer: the steps of a training and what they need to go on."""

    def __init__(
        self,
        model: Model,
        loss: Loss,
        optimizer: Optimizer,
        metrics: tuple[Metric, ...],
        seed: int,
        penalty: L2Penalty | None = None,
    ) -> None:
        self.model, self.loss, self.optimizer, self.metrics = model, loss, optimizer, metrics
        self.penalty = penalty
        state = model.training_state
        if state is None or state.optimizer is not optimizer:
            with model.device.activate():
                vectors = optimizer.init(model.vector, model.device.xp)
            model.training_state = TrainingState(optimizer, vectors)
        self.good = model.vector  # the last parameters whose loss was seen to be finite
        self.step = compile_step(self._make_step(seed), model.device, model.dtype)

    @property
    def state(self) -> TrainingState:
        """How far the training came."""
        state: TrainingState = self.model.training_state
        return state

    def _make_step(self, seed: int) -> Callable[..., Any]:
        """One step as a pure function of parameters, state, batch, scalars and step number."""
        model, loss, optimizer, metrics = self.model, self.loss, self.optimizer, self.metrics
        xp = model.device.xp
        objective = objective_of(model, loss)
        penalize = None if self.penalty is None else self.penalty.on(model)
        update = block_update(optimizer.update, model.device, elementwise=optimizer.elementwise)
        native = None if model.device.backend == "jax" else model.device.native

        def step(
            theta: Any, vectors: Any, batch: Batch, scalars: tuple[Any, ...], counter: Any
        ) -> tuple[Any, Any, Any, Any]:
            context = Context(
                xp,
                native,
                training=True,
                needs_input_gradient=False,
                random=Stream(xp, native, seed, counter),
            )
            value, g, y = objective(theta, batch, context)
            if penalize is not None:
                added, slope = penalize(theta, mean_weight(y, batch, loss, context))
                value, g = value + added, g + slope
            sums = batch_sums(value, y, batch, loss, metrics, context)
            theta, vectors = update(theta, g, vectors, scalars, xp)
            return theta, vectors, value, sums

        return step

    def epoch(
        self, batches: Batches, batch_size: int, order: Any, bar: Progress
    ) -> dict[str, float]:
        """Train on every batch once; returns the epoch's loss and metrics."""
        model = self.model
        window = WINDOW if model.device.is_asynchronous else 1
        totals = Totals(self.loss, self.metrics)
        pending: list[tuple[int, Any]] = []
        rate = 0.0
        before = (model.vector, self.state)
        with model.device.activate():
            for index, batch in enumerate(batches.epoch(batch_size, order)):
                if not pending:
                    before = (model.vector, self.state)
                rate, value, sums = self._advance(batch)
                totals.add(sums)
                pending.append((index, value))
                if len(pending) < window:
                    continue
                bar.steps(window, self._check(pending, before, batches, batch_size, order), rate)
                pending = []
            if pending:
                last = self._check(pending, before, batches, batch_size, order)
                bar.steps(len(pending), last, rate)
            return totals.values(model.device) | {"learning_rate": rate}

    def finish_epoch(self, monitored: float) -> None:
        """Count the epoch and remember its loss for rates that depend on it."""
        state = self.state
        self.model.training_state = replace(
            state, epoch=state.epoch + 1, monitored=(*state.monitored, monitored)
        )

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
        self, pending: Any, before: Any, batches: Batches, batch_size: int, order: Any
    ) -> float:
        """Look at the losses of the steps just done; raise if one of them is not finite."""
        model, device = self.model, self.model.device
        losses = [float(device.to_numpy(value)) for _, value in pending]
        if all(math.isfinite(value) for value in losses):
            self.good = before[0]
            return losses[-1]
        # Go back to before these steps and repeat them one by one, up to the one at fault.
        model.vector, model.training_state = before
        for index, batch in enumerate(batches.epoch(batch_size, order)):
            if index < pending[0][0]:
                continue
            theta = model.vector
            _, value, _ = self._advance(batch)
            if not math.isfinite(float(device.to_numpy(value))):
                error = non_finite_loss(model, self.loss, theta, batch, self.state, index)
                model.vector, model.training_state = self.good, None
                raise error
            self.good = theta
        raise AssertionError("a loss that was not finite became finite when it was repeated")

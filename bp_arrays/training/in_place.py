"""Training on NumPy: the parameters are written over, step by step.

Memory during a step: the parameters, their gradients, the optimizer's state, and the activations.
The parameters before the last update lie where its gradients were; should their loss turn out not
to be finite, that is where the training goes back to.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from bp_arrays.execution import InPlaceUpdate, is_unshared, lean
from bp_arrays.feeding import Batch, Feed
from bp_arrays.layers import Context
from bp_arrays.random import Stream
from bp_arrays.training.diagnosis import non_finite_loss
from bp_arrays.training.evaluating import Totals, batch_sums, mean_weight
from bp_arrays.training.interrupting import Interruptible
from bp_arrays.training.progress import Progress
from bp_arrays.training.trainer import Trainer
from bp_arrays.typing import ParameterTree

GATHERED = 65_536
"""Up to so many parameters one update of all is cheaper than one for each of them."""

HostVector = np.ndarray[Any, Any]


class InPlaceTrainer(Trainer):
    """Each step updates θ and the optimizer's state where they lie."""

    def __init__(self, *of: Any) -> None:
        super().__init__(*of)
        model, optimizer = self.model, self.optimizer
        self.stream = Stream(lean, model.device.native, self.seed)
        self.context = Context(
            lean,
            model.device.native,
            training=True,
            needs_input_gradient=False,
            random=self.stream,
        )
        self.update = InPlaceUpdate(
            optimizer.update,
            states=len(self.state.vectors),
            scalars=len(optimizer.scalars(1, 1.0)),
            elementwise=optimizer.elementwise,
            dtype=model.dtype,
            xp=lean,
        )
        small = model.parameter_count <= GATHERED
        self.gathers = small or not optimizer.elementwise or self.penalize is not None
        self.kept: list[HostVector] = []  # θ before the last update, stretch by stretch

    def epoch(self, batches: Feed, batch_size: int, order: Any, bar: Progress) -> dict[str, float]:
        model, optimizer, state = self.model, self.optimizer, self.state
        totals = Totals(self.loss, self.metrics)
        step, rate = state.step, 0.0
        self._take_over()
        with Interruptible() as interrupts:
            try:
                for index, batch in enumerate(batches.epoch(batch_size, order)):
                    rate = optimizer.rate(step, state.monitored)
                    value, sums = self._advance(batch, optimizer.scalars(step + 1, rate), step)
                    step += 1
                    if not math.isfinite(value):
                        self._go_back(batch, replace(state, step=step), index)
                    totals.add(sums)
                    bar.steps(1, value, rate)
                    interrupts.check()
            finally:
                if model.training_state is not None:
                    model.training_state = replace(state, step=step)
        return totals.values(model.device) | {"learning_rate": rate}

    def _take_over(self) -> None:
        """Make θ this training's own: whoever was given the model's arrays keeps what they say."""
        model = self.model
        self.kept = []
        self.theta = model.vector = model.vector.copy()
        self.params: ParameterTree = model.tree()
        entries = model.layout.trainable
        stretches = [slice(0, self.theta.shape[0])]
        if not self.gathers:
            stretches = [slice(entry.offset, entry.offset + entry.size) for entry in entries]
        self.stretches = [
            (self.theta[here], tuple(vector[here] for vector in self.state.vectors))
            for here in stretches
        ]

    def _advance(
        self, batch: Batch, scalars: tuple[float, ...], step: int
    ) -> tuple[float, tuple[Any, ...]]:
        """One step, but for the update where the loss is not finite."""
        context = self.context
        self.stream.restart(step)
        y, backward = self.model.net.forward(self.params, batch.x, context)
        loss, loss_backward = self.loss.forward(y, batch.t, context, batch.weight)
        penalty: Any = None
        if self.penalize is not None:
            added, penalty = self.penalize(self.theta, mean_weight(y, batch, self.loss, context))
            loss = loss + added
        value = float(loss)
        sums = batch_sums(value, y, batch, self.loss, self.metrics, context)
        if math.isfinite(value):
            self.kept = []  # these parameters are good: their predecessors may go
            _, gradients = backward(loss_backward())
            self.kept = self._stretched(gradients)
            if penalty is not None:
                self.kept[0] += penalty
            for (theta, state), g in zip(self.stretches, self.kept, strict=True):
                self.update(theta, g, state, scalars)
        return value, sums

    def _stretched(self, gradients: ParameterTree) -> list[HostVector]:
        """The gradients as the stretches of θ, in memory that may be written over."""
        layout, xp = self.model.layout, lean
        if self.gathers:
            g = layout.gather(gradients, xp)
            return [g if len(layout.trainable) > 1 else g.copy()]
        found = list(layout.flat(gradients, xp))
        gradients.clear()
        for k in range(len(found)):  # enumerate would hold on to the gradient
            if not is_unshared(found[k], names=1):
                found[k] = found[k].copy()
        return found

    def _go_back(self, batch: Batch, state: Any, index: int) -> None:
        """Restore the last parameters whose loss was finite, and tell what happened."""
        model = self.model
        error = non_finite_loss(model, self.loss, self.theta, batch, state, index)
        for (theta, _), before in zip(self.stretches, self.kept, strict=bool(self.kept)):
            theta[...] = before
        model.training_state = None
        raise error

"""Training on NumPy: the parameters are written over, step by step.

Memory during a step: the parameters, their gradient, the optimizer's state, and the activations.
The parameters before the last update lie where the gradient was; should their loss turn out not
to be finite, that is where the training goes back to.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from typing import Any

import numpy as np

from bp_arrays.data import Batch, Feed
from bp_arrays.execution import Arena, InPlaceUpdate, lean
from bp_arrays.training._evaluate import Totals
from bp_arrays.training._interrupts import Interruptible
from bp_arrays.training._non_finite import non_finite_loss
from bp_arrays.training._progress import Progress
from bp_arrays.training.runners._passes import Objective, PlainPass, RecordedPass, is_ours, logger
from bp_arrays.training.runners._runner import Trainer

RECORDINGS = 4
"""Batches of so many shapes are recorded in a training; others run as they stand."""

HostVector = np.ndarray[Any, Any]


class InPlaceTrainer(Trainer):
    """Each step updates θ and the optimizer's state where they lie."""

    def __init__(self, *of: Any) -> None:
        super().__init__(*of)
        model, optimizer = self.model, self.optimizer
        self.objective = Objective(model, self.loss, self.metrics, self.penalize, self.seed)
        self.update = InPlaceUpdate(
            optimizer.update,
            states=len(self.state.vectors),
            scalars=len(optimizer.scalars(1, 1.0)),
            elementwise=optimizer.elementwise,
            dtype=model.dtype,
            xp=lean,
        )
        self.plain = PlainPass(self.objective)
        self.recorded: dict[Any, RecordedPass] = {}
        self.records = True
        self.arena = Arena()
        self.theta: HostVector = np.empty(0)
        self.g: HostVector = np.empty(0)
        self.shown: Any = None  # θ as the model has it
        self.can_go_back = False  # whether g holds the parameters before the last update

    @property
    def compiled_by(self) -> str:
        return "recorded step" if self.recorded else ""

    def epoch(self, batches: Feed, batch_size: int, order: Any, bar: Progress) -> dict[str, float]:
        optimizer, state = self.optimizer, self.state
        totals = Totals(self.loss, self.metrics)
        step, rate = state.step, 0.0
        self._take_over()
        theta, g, vectors = self.theta, self.g, state.vectors
        with Interruptible() as interrupts:
            try:
                for index, batch in enumerate(batches.epoch(batch_size, order)):
                    rate = optimizer.rate(step, state.monitored)
                    this = self._pass_for(batch, step)
                    value, weight, measured = this.forward(theta, batch, step)
                    if not math.isfinite(value):
                        self._go_back(batch, replace(state, step=step + 1), index)
                    this.backward(g)
                    self.update(theta, g, vectors, optimizer.scalars(step + 1, rate))
                    self.can_go_back = True
                    step += 1
                    totals.add(value * weight, weight, measured)
                    bar.steps(1, value, rate)
                    interrupts.check()
            finally:
                if self.model.training_state is not None:
                    self.model.training_state = replace(state, step=step)
        return totals.values(self.model.device) | {"learning_rate": rate}

    def _take_over(self) -> None:
        """Make θ this training's own: whoever was given the model's arrays keeps what they say.

        The model shows θ through an array that only it and this training know; if somebody else
        has got hold of it, or of a part of it, Python's count of its references says so.
        """
        model = self.model
        if model.vector is not self.shown:
            self.can_go_back = False
        elif sys.getrefcount(self.shown) == 3:
            return
        self.theta = model.vector.copy()
        # an array of its own over the same memory: parts of it count as references to it
        self.shown = model.vector = np.frombuffer(self.theta.data, self.theta.dtype)
        if self.g.shape != self.theta.shape:
            self.g = np.empty_like(self.theta)
        for recorded in self.recorded.values():
            recorded.bind(self.theta, self.g)

    def _pass_for(self, batch: Batch, step: int) -> PlainPass | RecordedPass:
        """The way for batches of this shape: recorded, if that can be done."""
        if not self.records:
            return self.plain
        x, t, weight = batch
        assert t is not None  # batches to train on have targets
        key = x.shape, t.shape, t.dtype.char, weight is None
        if key not in self.recorded:
            if len(self.recorded) == RECORDINGS:
                return self.plain
            try:
                self.recorded[key] = self._recording(batch, step)
            except Exception as error:  # a mistake in a layer will be told by the plain pass
                logger.debug("steps run operation by operation: %s", error)
                self.records = False
                return self.plain
        return self.recorded[key]

    def _recording(self, batch: Batch, step: int) -> RecordedPass:
        """The recorded pass; of layers that are not ours it is compared with the plain one.

        A layer is a pure function of what it is handed. One that is not, which draws its own
        random numbers, say, gives something else the second time.
        """
        recorded = RecordedPass(self.objective, batch, self.theta, self.g, self.arena)
        if not is_ours(self.model.net):
            before = self.g.copy()
            found = []
            for way in (recorded, self.plain):
                value, _, _ = way.forward(self.theta, batch, step)
                way.backward(self.g)
                found.append(np.append(self.g, np.asarray(value, self.g.dtype)))
            self.g[...] = before
            apart = np.linalg.norm(found[0] - found[1])
            if not apart <= math.sqrt(np.finfo(self.g.dtype).eps) * np.linalg.norm(found[1]):
                raise ValueError(f"replayed, a step is {apart} from what it was")
        return recorded

    def _go_back(self, batch: Batch, state: Any, index: int) -> None:
        """Restore the last parameters whose loss was finite, and tell what happened."""
        model = self.model
        error = non_finite_loss(model, self.loss, self.theta, batch, state, index)
        if self.can_go_back:
            self.theta[...] = self.g
        model.training_state = None
        raise error

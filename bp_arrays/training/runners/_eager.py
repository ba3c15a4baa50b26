"""`EagerRunner`: steps as pure functions, operation by operation or compiled by jax.jit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

from bp_arrays.data import Batch, Feed
from bp_arrays.distributed import ProcessGroup
from bp_arrays.execution import compile_step
from bp_arrays.training._evaluate import Totals
from bp_arrays.training._pauses import Pauses
from bp_arrays.training._progress import Progress
from bp_arrays.training._step import TrainingStep
from bp_arrays.training.runners._reuse import compiled_steps, update_key
from bp_arrays.training.runners._runner import (
    Runner,
    Vectors,
    Window,
    check_equal,
    first_not_finite,
)
from bp_arrays.trees import leaves

WINDOW = 32
"""Steps launched on an asynchronous device before their losses are checked."""

KEPT_PARAMETERS = 10**6
"""Parameters of a model with a penalty up to which its compiled step is kept: it holds a mask."""


class EagerRunner(Runner):
    """A runner whose steps return new vectors, so that the old ones are available to go back to.

    Parameters
    ----------
    step : TrainingStep
    compiled : bool
        Whether the step may be compiled where the device has a compiler.
    key : bytes, optional
        The `step_key` under which the compiled step is kept.
    """

    def __init__(
        self, step: TrainingStep, *, compiled: bool = True, key: bytes | None = None
    ) -> None:
        super().__init__(step)
        self.group: ProcessGroup | None = None  # the processes that share the batches
        model = self.model
        self.good: Vectors = model.current_vectors()  # the last with a loss known to be finite
        self.compute: Any = step
        self.jitted = compiled and model.device.runs_as == "jit"
        if self.jitted:
            self.compute = self._compiled_step(key)
        self.unproven = self.jitted and self.has_custom_parts

    @property
    def compiled_by(self) -> str:
        return "jax.jit" if self.jitted else ""

    def _compiled_step(self, key: bytes | None) -> Any:
        """Return the step compiled by jax.jit: that of an equal step, if there was one."""
        model, update, step = self.model, update_key(self.optimizer), self.step
        whole = None if key is None or update is None else (key, update)
        if self.has_custom_parts or is_large(step):
            whole = None
        kept = None if whole is None else compiled_steps.get(whole)
        if kept is not None:
            return kept
        # what is kept must not refer to the parameters of a model
        traced = replace(step, model=model.without_parameters(), traced=True)
        compiled = compile_step(traced, model.device, model.dtype)
        if whole is not None:
            compiled_steps.put(whole, compiled)
        return compiled

    def epoch(
        self, feed: Feed, batch_size: int, order: Any, bar: Progress, pauses: Pauses
    ) -> dict[str, float]:
        model = self.model
        size = WINDOW if model.device.is_asynchronous else 1
        totals = self.new_totals(pauses)
        pending: list[tuple[Any, Batch | None]] = []
        rate, done = self.last_rate(), pauses.start
        pauses.begin(totals.sums)

        def check() -> None:
            """Check the losses of the window; stop training if one of them is not finite."""
            losses = self._read([loss for loss, _ in pending])
            bad = first_not_finite(losses)
            if bad is not None:
                batches: Iterator[Any] = iter([batch for _, batch in pending])
                if feed.repeats:
                    batches = self.batches(feed, batch_size, order, window.first)
                self.stop_in_window(self, window, bad, batches, self.good)
            self.good = window.vectors
            bar.steps(len(losses), losses[-1], rate)
            pending.clear()

        window = Window(self.state, self.vectors(), done)
        with (
            model.device.activate(),
            closing(self.remaining_batches(pauses, feed, batch_size, order)) as batches,
        ):
            for batch in batches:
                if not pending:
                    window = Window(self.state, self.vectors(), done)
                rate, loss, sums = self.advance(batch)
                done += 1
                self.count(totals, sums)
                pending.append((loss, None if feed.repeats else batch))
                is_due = self.is_due(pauses)
                if is_due or len(pending) == size:
                    check()
                if is_due:
                    self.pause(pauses, totals, batch)
            if pending:
                check()
            self.check_end(feed)
            return totals.values(self.group) | {"learning_rate": rate}

    def count(self, totals: Totals, sums: Any) -> None:
        """Add the sums of a step to those of the epoch."""
        totals.add(*sums)

    def batches(self, feed: Feed, batch_size: int, order: Any, start: int) -> Any:
        """Return the batches of an epoch, each for one update, without the first ones."""
        return feed.epoch(batch_size, order, start)

    def remaining_batches(self, pauses: Pauses, feed: Feed, batch_size: int, order: Any) -> Any:
        """Return the batches of an epoch, which an earlier run may have begun."""
        return pauses.batches(feed, batch_size, order)

    def check_end(self, feed: Feed) -> None:
        """Raise InputError if the processes have had different numbers of batches."""

    def is_due(self, pauses: Pauses) -> bool:
        """Return whether to pause after the last step."""
        return pauses.is_due(self.state.step)

    def pause(self, pauses: Pauses, totals: Totals, batch: Any) -> None:
        """Do what is due after a batch of the epoch."""
        pauses.pause(batch)

    def single_step(self, batch: Batch) -> float:
        window = Window(self.state, self.vectors(), 0)
        with self.model.device.activate():
            _, loss, _ = self.advance(batch)
            value = float(self.model.device.to_numpy(loss))
            if first_not_finite([value]) is not None:
                self.stop_in_window(self, window, 0, iter([batch]), self.good)
        self.good = window.vectors
        return value

    def last_good(self) -> Vectors:
        return self.good

    def _read(self, losses: list[Any]) -> list[float]:
        """Bring losses to the host; from an asynchronous device with one copy for all of them."""
        device = self.model.device
        if device.is_asynchronous and not self.jitted:  # a jit would compile for every number
            return [float(loss) for loss in device.to_numpy(device.xp.stack(losses))]
        return [float(device.to_numpy(loss)) for loss in losses]

    # -- steps that can be repeated --------------------------------------------------------------

    def advance(self, batch: Batch) -> tuple[float, Any, Any]:
        """Make one step; return its learning rate, its loss and its part of the totals."""
        model, state = self.model, self.state
        rate, scalars = self.next_scalars()
        theta, others = self.vectors()
        arguments = (theta, others, state.arrays, batch, scalars, state.step)
        result = self._first_result(arguments) if self.unproven else self.compute(*arguments)
        model.set_vectors(result.theta, result.state)
        model.training_state = state.after(result.vectors, state.step + 1)
        return rate, result.loss, result.sums

    def _first_result(self, arguments: Any) -> Any:
        """Compile a step with custom parts, and use the eager one if it cannot be compiled."""
        self.unproven = False
        eager = self.step(*arguments)
        try:
            result = self.compute(*arguments)
            to_numpy = self.model.device.to_numpy
            fast, slow = ([to_numpy(a) for a in leaves(each)] for each in (result, eager))
            check_equal(fast, slow, self.model.compute_dtype or self.model.dtype)
        except Exception as error:  # of any kind: custom code may do anything to a tracer
            self.refuse("steps run operation by operation, they cannot be compiled", error)
            self.jitted, self.compute, result = False, self.step, eager
        return result

    def restart(self, window: Window) -> None:
        self.model.set_vectors(*window.vectors)
        self.model.training_state = window.start

    def vectors(self) -> Vectors:
        return self.model.current_vectors()


def is_large(step: TrainingStep) -> bool:
    """Return True if the compiled step holds a constant of the size of a large model."""
    return step.objective.penalty is not None and step.model.parameter_count > KEPT_PARAMETERS

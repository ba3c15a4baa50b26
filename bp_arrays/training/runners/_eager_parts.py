"""`EagerPartsRunner`: training in parts on devices other than NumPy's.

The gradients of the parts, the sum over the processes and the update are separate computations,
each compiled by jax.jit on JAX and run operation by operation elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

import numpy as np

from bp_arrays.data import Batch, Feed
from bp_arrays.errors import NonFiniteLossError
from bp_arrays.execution import compiled as compile_function
from bp_arrays.losses import CombinedLoss
from bp_arrays.model import PartFactors
from bp_arrays.optimizers import TrainingState
from bp_arrays.training._evaluate import Totals
from bp_arrays.training._parts import (
    EXTRAS,
    Division,
    Part,
    Sums,
    combined_shares,
    draws_random_numbers,
)
from bp_arrays.training._pauses import Pauses
from bp_arrays.training._progress import Progress
from bp_arrays.training._step import TrainingStep
from bp_arrays.training.runners._eager import EagerRunner, is_large
from bp_arrays.training.runners._part_functions import PartFunctions
from bp_arrays.training.runners._reuse import compiled_steps, update_key
from bp_arrays.training.runners._runner import Vectors
from bp_arrays.typing import Array


class EagerPartsRunner(EagerRunner):
    """A runner whose updates are by the gradients of several parts of a batch.

    Parameters
    ----------
    step : TrainingStep
    division : Division
    compiled : bool
        Whether computations may be compiled where the device has a compiler.
    key : bytes, optional
        The `step_key` under which compiled computations are kept.
    """

    def __init__(
        self,
        step: TrainingStep,
        division: Division,
        *,
        compiled: bool,
        key: bytes | None = None,
    ) -> None:
        penalty = step.objective.penalty
        without = replace(step, objective=replace(step.objective, penalty=None))
        super().__init__(without, compiled=False)
        self.division, self.group = division, division.group
        device = self.model.device
        self.wide = "float64" if self.model.dtype == "float64" else "float32"
        self.is_jitted = compiled and device.runs_as == "jit"
        self.has_random = draws_random_numbers(step.objective.net)
        self._key = None if self.has_custom_parts or is_large(step) else key
        if self.is_jitted:  # what is kept must not refer to the parameters of a model
            without = replace(without, model=self.model.without_parameters(), traced=True)
        self.functions = PartFunctions(without, penalty, self.wide)
        self.computed: dict[int, Any] = {}  # the gradients of parts, by the rows of the batch
        self.pauses: Pauses | None = None  # of the present epoch
        self.due_together = False  # whether one of the processes has to pause
        update = update_key(self.optimizer)
        name = None if update is None else ("update", update)
        self.finish = self._compiled(self.functions.finish, name)

    def _compiled(self, function: Any, name: Any) -> Any:
        """Return a function compiled, where there is a compiler: one of its name that was kept."""
        if not self.is_jitted:
            return function
        key = None if self._key is None or name is None else (self._key, name)
        kept = None if key is None else compiled_steps.get(key)
        if kept is None:
            kept = compile_function(function, self.model.device)
            if key is not None:
                compiled_steps.put(key, kept)
        return kept

    @property
    def compiled_by(self) -> str:
        return "jax.jit" if self.is_jitted else ""

    def epoch(
        self, feed: Feed, batch_size: int, order: Any, bar: Progress, pauses: Pauses
    ) -> dict[str, float]:
        if self.has_custom_parts:  # what they read from Python may have changed since
            self.computed.clear()
        self.pauses = pauses
        return super().epoch(feed, batch_size, order, bar, pauses)

    def batches(self, feed: Feed, batch_size: int, order: Any, start: int) -> Any:
        return self.division.updates(feed, batch_size, order, start)

    def remaining_batches(self, pauses: Pauses, feed: Feed, batch_size: int, order: Any) -> Any:
        return self.division.remaining_updates(feed, batch_size, order, pauses)

    def check_end(self, feed: Feed) -> None:
        self.division.check_end(feed, self._rows_of_others)

    def _rows_of_others(self) -> float:
        assert self.group is not None
        device = self.model.device
        summed = device.to_numpy(self.group.sum_of(self._no_rows(*self.vectors()), device))
        return Sums(*summed[-EXTRAS:].tolist()).rows

    def is_due(self, pauses: Pauses) -> bool:
        return super().is_due(pauses) if self.group is None else self.due_together

    def pause(self, pauses: Pauses, totals: Totals, batch: Any) -> None:
        self.division.pause(pauses, totals, batch)

    def single_step(self, batch: Batch) -> float:
        parts: Any = [self.division.part_of(batch)]
        return super().single_step(parts)

    def advance(self, batch: Any) -> tuple[float, Any, Any]:
        parts: Sequence[Part] = batch
        model, state, device = self.model, self.state, self.model.device
        rate, scalars = self.next_scalars()
        theta, others = self.vectors()
        loss_scale = self.step.loss_scale(state.arrays)
        vector, measured = self._gradients(parts, theta, others, state.step, loss_scale)
        if self.group is not None:
            if self.pauses is not None and self.pauses.is_due(state.step + 1):
                one = device.asarray(np.ones(1), self.wide)
                vector = device.xp.concat([vector[:-1], one])
            vector = self.group.sum_of(vector, device)
        host = np.float64 if self.wide == "float64" else np.float32
        numbers = tuple(map(host, scalars)) if self.is_jitted else scalars
        theta, others, vectors, loss, weight = self.finish(
            theta, others, state.arrays, vector, numbers
        )
        if self.group is not None:
            rows, due = device.to_numpy(vector[-2:]).tolist()
            self.division.check_rows(rows, parts[0].total)
            self.due_together = due > 0.0
        model.set_vectors(theta, others)
        model.training_state = state.after(vectors, state.step + 1)
        shares = ((weight * (rows / parts[0].total), sums) for rows, sums in measured)
        return rate, loss, [(loss * share, share, sums) for share, sums in shares]

    def count(self, totals: Totals, sums: Any) -> None:
        for each in sums:
            totals.add(*each)

    def stop(
        self, batch: Any, index: int, state: TrainingState, at_fault: Vectors, good: Vectors
    ) -> NoReturn:
        """As `Runner.stop`, by the process with the first layer at fault, for all of them."""
        message, found = None, False
        for part in batch:
            if part.batch is None or found:
                continue
            try:
                super().stop(part.batch, index, state, at_fault, good)
            except NonFiniteLossError as error:
                text = str(error)
                found = "all layers being finite" not in text
                message = text if message is None or found else message
        self.model.set_vectors(*good)
        self.model.training_state = None
        messages = self.division.gathered((message, found))
        texts = [text for text, _ in sorted(messages, key=lambda m: not m[1]) if text is not None]
        raise NonFiniteLossError(texts[0])

    # -- one update ----------------------------------------------------------------------------

    def _gradients(
        self,
        parts: Sequence[Part],
        theta: Array,
        others: Array,
        counter: int,
        loss_scale: Array | None,
    ) -> tuple[Array, list[tuple[int, Any]]]:
        """Return the sum over the parts as one vector, and the rows and metrics of each."""
        vector: Any = None
        measured = []
        for part, scale in zip(parts, self._scales(parts), strict=True):
            if part.batch is None:
                continue
            of_part, sums = self._compute(part, scale, theta, others, counter, loss_scale)
            vector = of_part if vector is None else vector + of_part
            measured.append((part.rows, sums))
        return self._no_rows(theta, others) if vector is None else vector, measured

    def _no_rows(self, theta: Array, others: Array) -> Array:
        """Return the vector of a process without rows."""
        length = theta.shape[0] + others.shape[0] + EXTRAS
        return self.model.device.asarray(np.zeros(length), self.wide)

    def _compute(
        self,
        part: Part,
        scale: PartFactors,
        theta: Array,
        others: Array,
        counter: int,
        loss_scale: Array | None,
    ) -> tuple[Array, Any]:
        total = part.total if self.has_random else 0
        if total not in self.computed:
            function = partial(self.functions.part, total)
            self.computed[total] = self._compiled(function, ("part", total))
        device = self.model.device
        first = device.asarray(np.asarray([part.first]), "int32")
        number: Any = np.int32(counter) if self.is_jitted else counter
        vector, sums = self.computed[total](
            theta, others, part.batch, number, first, scale, loss_scale
        )
        return vector, sums

    def _scales(self, parts: Sequence[Part]) -> Iterator[PartFactors]:
        device, loss = self.model.device, self.step.objective.loss
        factors: Sequence[Any] = [None] * len(parts)
        if isinstance(loss, CombinedLoss):
            factors = combined_shares(parts, self.model, loss, self.division)
        for part, share in zip(parts, factors, strict=True):
            by_weight = device.asarray(np.asarray([1.0 / part.total]), self.wide)
            yield PartFactors(
                by_weight, None if share is None else device.asarray(share, self.wide)
            )

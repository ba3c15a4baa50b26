"""`EagerPass`, `ReplayedPass` and its `Recording`: forward and backward of a batch on NumPy.

Both write the gradient to one vector g. The loss is checked between forward and backward, as until
then g has the parameters to which training may have to go back.
"""

from __future__ import annotations

import itertools
import logging
import time
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from bp_arrays.data import Batch
from bp_arrays.errors import InputError
from bp_arrays.execution import (
    Arena,
    FusedSteps,
    NotRecordable,
    Program,
    Recorded,
    StepRecorder,
    ThreadChoice,
    copied,
    largest_product,
    needed_for,
)
from bp_arrays.model import Forward, PartFactors
from bp_arrays.random import BatchPart
from bp_arrays.training._step import TrainingStep
from bp_arrays.trees import leaves, map_tree
from bp_arrays.typing import HostArray

logger = logging.getLogger("bp_arrays")


class PartOf(NamedTuple):
    """The rows of the larger batch that a pass computes, and its factors, in arrays (1,).

    Parameters
    ----------
    rows : BatchPart
    scale : PartFactors
    """

    rows: BatchPart
    scale: PartFactors


Measured = tuple[float, Any, tuple[tuple[Any, ...], ...]]
"""The loss, the divisor of its mean, and the sums of the metrics."""


class EagerPass:
    """A pass that runs the layers at every batch.

    Parameters
    ----------
    step : TrainingStep
    theta, state, g : arrays
        The memory of the trainable parameters, the others, and the gradient.
    """

    def __init__(
        self, step: TrainingStep, theta: HostArray, state: HostArray, g: HostArray
    ) -> None:
        self._step = step
        self.bind(theta, state, g)
        self._result: Forward

    def bind(self, theta: HostArray, state: HostArray, g: HostArray) -> None:
        """Use other memory, from the next batch on."""
        self._theta, self._state, self._g = theta, state, g

    def forward(self, batch: Batch, counter: int, part: PartOf | None = None) -> Measured:
        """Compute the loss of a batch; `counter` is the number of updates before this one."""
        rows, scale = (None, None) if part is None else part
        context = self._step.context(counter, rows)
        objective = self._step.objective
        try:
            self._result = objective.forward(self._theta, self._state, batch, context, scale)
            loss = float(self._result.loss)
            self.has_divisor = not isinstance(self._result.weight, float)
        except NotRecordable as error:
            raise InputError(
                "fit: expected layers, losses and metrics that keep no arrays between calls, one "
                f"kept an array of a recorded step ({error}); pass compiled=False"
            ) from None
        sums = tuple([tuple(map(_value, parts)) for parts in self._result.sums])
        return loss, _value(self._result.weight), sums

    @property
    def updates_state(self) -> bool:
        """True if the last step gives non-trainable parameters new values."""
        return self._result.state is not self._state

    def backward(self) -> None:
        """Write the gradient to g, and the new values of non-trainable parameters."""
        start, penalty = 0, self._result.penalty
        for gradient in self._result.gradients():
            stop = start + gradient.shape[0]
            self._g[start:stop] = gradient if penalty is None else gradient + penalty[start:stop]
            start = stop
        if self._result.state is not self._state:
            self._state[...] = self._result.state
        del self._result  # frees the activations


class Recording:
    """The operations of a step for one batch shape, without memory: several passes may share them.

    Parameters
    ----------
    step : TrainingStep
    batch : Batch
        An example with the shapes and dtypes of all batches.
    theta, state, g : arrays
        Examples of the vectors of `EagerPass`.
    part : PartOf, optional
        An example of the part of a larger batch that `forward` receives.

    Raises
    ------
    Exception
        Any exception, if an operation of the layers cannot be recorded.
    """

    def __init__(
        self,
        step: TrainingStep,
        batch: Batch,
        theta: HostArray,
        state: HostArray,
        g: HostArray,
        part: PartOf | None = None,
    ) -> None:
        recorder = StepRecorder()
        memory = [recorder.memory(v.shape, v.dtype) for v in (theta, state, g)]
        inputs = map_tree(lambda a: recorder.argument(a.shape, a.dtype), batch)
        counter = recorder.argument((1,), np.dtype(np.int32))
        rows, scale = (None, None) if part is None else _recorded_part(recorder, part)
        context = step.context(counter, rows)
        result = step.objective.forward(memory[0], memory[1], inputs, context, scale)
        extra = [counter, *(() if rows is None else (rows.first, *leaves(scale)))]
        split = len(recorder.instructions)
        written = _record_gradients(recorder, result, memory[2], split)
        if result.state is not memory[1]:
            # last, when the old values are not read any more
            written.append(_record_copy(recorder, result.state, memory[1], 0))
        self.results = (result.loss, result.weight, result.sums)
        results = [result.loss, result.weight, *itertools.chain(*result.sums)]
        self.memory = [array.slot for array in memory]
        self.slots: dict[str, Any] = {
            "arguments": [array.slot for array in (*leaves(inputs), *extra)],
            "bound": self.memory,
            "results": [part.slot for part in results if isinstance(part, Recorded)],
            "written": written,
        }
        self.forward = recorder.instructions[:split]
        self.backward = recorder.instructions[split:]
        needed = needed_for([*self.slots["results"], *written], [*self.forward, *self.backward])
        self.forward = [i for i in self.forward if i in needed]
        self.backward = [i for i in self.backward if i in needed]
        self.fused = FusedSteps(self.forward, self.backward, [*self.slots["results"], *written])
        self.largest_product = largest_product([*self.forward, *self.backward])
        self.thread_choice: ThreadChoice | None = None
        self.has_divisor = not isinstance(result.weight, float)
        self.updates_state = result.state is not memory[1]
        self.one_array = all(isinstance(array, np.ndarray) for array in batch[:2])

    @cached_property
    def constant_bytes(self) -> int:
        """The memory of its constants, such as the mask of a penalty."""
        constants = {
            id(slot.constant): slot.constant.nbytes
            for step in (*self.forward, *self.backward)
            for slot in (*step.read, *(s.root for s in step.read))
            if slot.constant is not None
        }
        return sum(constants.values())


class ReplayedPass:
    """A pass that replays recorded operations in preallocated memory, for one batch shape.

    `steps_to_come`, if it is known, tells whether loops are worth compiling.

    Parameters
    ----------
    recording : Recording
    theta, state, g : arrays
        As for `EagerPass`.
    arena : Arena
        Memory shared with the passes of other shapes.
    """

    def __init__(
        self,
        recording: Recording,
        theta: HostArray,
        state: HostArray,
        g: HostArray,
        arena: Arena,
    ) -> None:
        self.recording = recording
        self._slots = {**recording.slots, "arena": arena}
        self.program = Program(recording.forward, recording.backward, **self._slots)
        self.fused: FusedSteps | None = recording.fused
        self.steps_to_come = 0
        self._counter = np.zeros(1, np.int32)
        self._extra: tuple[Any, ...] = (self._counter,)
        self.has_divisor = recording.has_divisor
        self.updates_state, self._one_array = recording.updates_state, recording.one_array
        self._arrays: tuple[Any, ...] = ()
        self.bind(theta, state, g)

    def bind(self, theta: HostArray, state: HostArray, g: HostArray) -> None:
        """Use other memory, from the next batch on."""
        self._vectors = theta, state, g
        self._use(self.program)

    def unbind(self) -> None:
        """Refer to no memory of a model and to no batch, until `bind` is called again."""
        del self._vectors
        self._arrays, self._extra = (), (self._counter,)
        self.program.unbind()

    def _use(self, program: Program) -> None:
        names = [slot.name for slot in self.recording.memory]
        program.bind(dict(zip(names, self._vectors, strict=True)))
        self.program = program
        loss, weight, sums = self.recording.results
        self._loss, self._weight = self._memory_of(loss), self._memory_of(weight)
        self._sums = [[self._memory_of(part) for part in parts] for parts in sums]

    def _memory_of(self, result: Any) -> Any:
        """Return the memory of a result; a result that is not an array unchanged."""
        return self.program.array(result.slot) if isinstance(result, Recorded) else result

    def forward(self, batch: Batch, counter: int, part: PartOf | None = None) -> Measured:
        """Compute the loss of a batch; `counter` is the number of updates before this one."""
        self._counter[0] = counter
        if part is not None:
            self._extra = (self._counter, part.rows.first, *leaves(part.scale))
        if self._one_array:
            self._arrays = batch[:2] if batch.weight is None else batch
        else:
            self._arrays = tuple(leaves(batch))
        if self.fused is not None and self.fused.steps is not None:
            self._use_loops(*self.fused.steps)
        self._started = time.perf_counter()
        self.program.forward(*self._arrays, *self._extra)
        sums = tuple([tuple(map(_value, parts)) for parts in self._sums])
        return self._loss.item(), _value(self._weight), sums

    def backward(self) -> None:
        """Write the gradient to g, and the new values of non-trainable parameters."""
        self.program.backward(*self._arrays, *self._extra)
        if self.fused is not None:
            self.fused.spend(time.perf_counter() - self._started, self.steps_to_come)

    def _use_loops(self, forward: list[Any], backward: list[Any]) -> None:
        """Use the compiled loops from now on, if they give the same bits for this batch."""
        self.fused = None
        _, state, g = self._vectors
        before, steps = (state.copy(), g.copy()), []
        usual, same = self.program, False
        try:
            loops = Program(forward, backward, **self._slots)
            for program in (usual, loops):
                self._use(program)
                program.forward(*self._arrays, *self._extra)
                results = [np.array(program.array(slot)) for slot in self._slots["results"]]
                program.backward(*self._arrays, *self._extra)
                steps.append([*results, state.copy(), g.copy()])
                state[...], g[...] = before
            pairs = zip(*steps, strict=True)
            same = all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)
        except Exception as error:  # a failure of the loops must not stop training
            logger.warning("compiled loops of a step failed, NumPy continues: %s", error)
        else:
            if same:
                counts = len(usual.steps), len(loops.steps)
                logger.info("a step of %d operations runs as %d", *counts)
            else:
                logger.warning("compiled loops of a step differ from NumPy, which continues")
        finally:
            state[...], g[...] = before
            if not same:
                self._use(usual)


def _recorded_part(recorder: StepRecorder, part: PartOf) -> PartOf:
    """Return a part whose arrays are arguments of the recorded step."""

    def argument(array: HostArray) -> Recorded:
        return recorder.argument(array.shape, array.dtype)

    rows = part.rows._replace(first=argument(part.rows.first))
    return PartOf(rows, map_tree(argument, part.scale))


def shapes_of(batch: Batch) -> tuple[Any, ...]:
    """Return the key of a recording: the shapes and dtypes of a batch."""
    return *[(a.shape, a.dtype.char) for a in leaves(batch)], batch.weight is None


def _record_gradients(
    recorder: StepRecorder, result: Forward, g: Recorded, split: int
) -> list[Any]:
    """Record the computation of each gradient into its part of g; return the slots written."""
    written, start, penalty = [], 0, result.penalty
    for gradient in result.gradients():
        stop = start + gradient.shape[0]
        if penalty is not None:
            gradient = gradient + penalty[start:stop]
        written.append(_record_into(recorder, gradient, g, start, split))
        start = stop
    return written


def _record_into(
    recorder: StepRecorder, values: Any, memory: Recorded, start: int, split: int
) -> Any:
    """Record the computation of a flat array into a part of memory; return the slot written.

    An array that backward computes is computed in this memory. Others are copied: a part of another
    array, the gradient of two parameters at once, or one that is known before backward.
    """
    stop = start + values.shape[0]
    if isinstance(values, Recorded):
        root = values.slot.root
        computed = {id(i.result) for i in recorder.instructions[split:] if not i.assigned}
        is_whole = values.slot.contiguous and np.prod(root.shape) == values.size
        if id(root) in computed and is_whole and root.dtype == values.dtype == memory.dtype:
            shape = root.shape
            root.lies_in(memory.slot, lambda whole: whole[start:stop].reshape(shape))
            return root
    return _record_copy(recorder, values, memory, start)


def _record_copy(recorder: StepRecorder, values: Any, memory: Recorded, start: int) -> Any:
    """Record the copy of a flat array into a part of memory; return the slot written."""
    stop = start + values.shape[0]
    copy = recorder.result(copied, (values,), values.shape, memory.dtype, copied=True)
    copy.slot.lies_in(memory.slot, lambda whole: whole[start:stop])
    return copy.slot


def _value(result: Any) -> Any:
    """Return a 0-d result as a number; larger ones stay in memory that the next step overwrites."""
    is_number = isinstance(result, np.generic) or (
        isinstance(result, np.ndarray) and result.ndim == 0
    )
    return result.item() if is_number else result

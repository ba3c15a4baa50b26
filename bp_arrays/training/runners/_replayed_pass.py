"""One pass of a batch on NumPy, forward and backward: operation by operation, or replayed.

Both write the gradient over one vector g. Between forward and backward the loss is looked at:
until then g still holds the parameters that training may have to go back to.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from bp_arrays.data import Batch
from bp_arrays.execution import Arena, Program, Recorded, StepRecorder, copied
from bp_arrays.layers import Layer, walk
from bp_arrays.model import Forward
from bp_arrays.training._step import TrainingStep
from bp_arrays.trees import leaves, map_tree
from bp_arrays.typing import HostArray

Measured = tuple[float, Any, tuple[tuple[Any, ...], ...]]
"""The loss, the weight it was divided by, and the sums of the metrics."""


class EagerPass:
    """Operation by operation, through the layers, anew at every batch.

    Parameters
    ----------
    step : TrainingStep
    theta, state, g : arrays
        The memory of the parameters, trained and not, and of the gradient.
    """

    def __init__(
        self, step: TrainingStep, theta: HostArray, state: HostArray, g: HostArray
    ) -> None:
        self._step = step
        self.bind(theta, state, g)
        self._made: Forward

    def bind(self, theta: HostArray, state: HostArray, g: HostArray) -> None:
        """Use other memory from the next batch on."""
        self._theta, self._state, self._g = theta, state, g

    def forward(self, batch: Batch, counter: int) -> Measured:
        """Compute the loss of a batch; `counter` is the number of updates before this one."""
        context = self._step.context(counter)
        self._made = self._step.objective.forward(self._theta, self._state, batch, context)
        return float(self._made.loss), self._made.weight, self._made.sums

    def backward(self) -> None:
        """Write the gradient over g, and the new values of parameters that are not trained."""
        start, penalty = 0, self._made.penalty
        for gradient in self._made.gradients():
            stop = start + gradient.shape[0]
            self._g[start:stop] = gradient if penalty is None else gradient + penalty[start:stop]
            start = stop
        if self._made.state is not self._state:
            self._state[...] = self._made.state
        del self._made  # and with it the activations


class ReplayedPass:
    """The same operations, in memory laid out once for batches of these shapes.

    Parameters
    ----------
    step : TrainingStep
    batch : Batch
        One of the shapes and dtypes of those to come.
    theta, state, g : arrays
        As for `EagerPass`.
    arena : Arena
        Memory shared with the passes of other shapes.

    Raises
    ------
    Exception
        Of any kind, if the layers do something that cannot be recorded.
    """

    def __init__(
        self,
        step: TrainingStep,
        batch: Batch,
        theta: HostArray,
        state: HostArray,
        g: HostArray,
        arena: Arena,
    ) -> None:
        recorder = StepRecorder()
        memory = [recorder.memory(v.shape, v.dtype) for v in (theta, state, g)]
        inputs = map_tree(lambda a: recorder.argument(a.shape, a.dtype), batch)
        counter = recorder.argument((1,), np.dtype(np.int32))
        made = step.objective.forward(memory[0], memory[1], inputs, step.context(counter))
        split = len(recorder.instructions)
        written = _record_gradients(recorder, made, memory[2], split)
        if made.state is not memory[1]:
            # last, when nobody reads the old values any more
            written.append(_record_copy(recorder, made.state, memory[1], 0))
        self._results = (made.loss, made.weight, made.sums)
        results = [made.loss, made.weight, *itertools.chain(*made.sums)]
        self.program = Program(
            recorder.instructions[:split],
            recorder.instructions[split:],
            arguments=[array.slot for array in (*leaves(inputs), counter)],
            given=[array.slot for array in memory],
            results=[result.slot for result in results if isinstance(result, Recorded)],
            written=written,
            arena=arena,
        )
        self._names = [array.slot.name for array in memory]
        self._counter = np.zeros(1, np.int32)
        self._one_array = isinstance(batch.x, np.ndarray)
        self._arrays: tuple[Any, ...] = ()
        self.bind(theta, state, g)

    def bind(self, theta: HostArray, state: HostArray, g: HostArray) -> None:
        """Use other memory from the next batch on."""
        self.program.bind(dict(zip(self._names, (theta, state, g), strict=True)))
        loss, weight, sums = self._results
        self._loss, self._weight = self._memory_of(loss), self._memory_of(weight)
        self._sums = [[self._memory_of(part) for part in parts] for parts in sums]

    def _memory_of(self, result: Any) -> Any:
        """Where a result lies after a run; what is no array is what it is."""
        return self.program.array(result.slot) if isinstance(result, Recorded) else result

    def forward(self, batch: Batch, counter: int) -> Measured:
        """Compute the loss of a batch; `counter` is the number of updates before this one."""
        self._counter[0] = counter
        if self._one_array:
            self._arrays = batch[:2] if batch.weight is None else batch
        else:
            self._arrays = tuple(leaves(batch))
        self.program.forward(*self._arrays, self._counter)
        sums = tuple([tuple(map(_value, parts)) for parts in self._sums])
        return self._loss.item(), _value(self._weight), sums

    def backward(self) -> None:
        """Write the gradient over g, and the new values of parameters that are not trained."""
        self.program.backward(*self._arrays, self._counter)


def shapes_of(batch: Batch) -> tuple[Any, ...]:
    """Return what a recording depends on: the shapes and dtypes of a batch."""
    return *[(a.shape, a.dtype.char) for a in leaves(batch)], batch.weight is None


def _record_gradients(recorder: StepRecorder, made: Forward, g: Recorded, split: int) -> list[Any]:
    """Have every gradient computed into its part of g; returns the slots that are written."""
    written, start, penalty = [], 0, made.penalty
    for gradient in made.gradients():
        stop = start + gradient.shape[0]
        if penalty is not None:
            gradient = gradient + penalty[start:stop]
        written.append(_record_into(recorder, gradient, g, start, split))
        start = stop
    return written


def _record_into(
    recorder: StepRecorder, values: Any, memory: Recorded, start: int, split: int
) -> Any:
    """Have a flat array computed into a part of the memory; returns the slot that is written.

    An array that backward computes is computed right there. Others are copied: a part of another
    array, the gradient of two parameters at once, or one that is known before backward.
    """
    stop = start + values.shape[0]
    if isinstance(values, Recorded):
        root = values.slot.root
        computed = {id(i.result) for i in recorder.instructions[split:] if not i.assigned}
        straight = values.slot.contiguous and np.prod(root.shape) == values.size
        if id(root) in computed and straight and root.dtype == values.dtype == memory.dtype:
            shape = root.shape
            root.lies_in(memory.slot, lambda whole: whole[start:stop].reshape(shape))
            return root
    return _record_copy(recorder, values, memory, start)


def _record_copy(recorder: StepRecorder, values: Any, memory: Recorded, start: int) -> Any:
    """Have a flat array copied into a part of the memory; returns the slot that is written."""
    stop = start + values.shape[0]
    copy = recorder.result(copied, (values,), values.shape, memory.dtype, copied=True)
    copy.slot.lies_in(memory.slot, lambda whole: whole[start:stop])
    return copy.slot


def _value(result: Any) -> Any:
    """A result as a number; larger ones lie where the next step writes over them."""
    return result.item() if isinstance(result, np.ndarray) and result.ndim == 0 else result


def is_library_net(net: Layer) -> bool:
    """Return True if all layers of a net are of this library."""
    return all(is_library_object(node.layer) for node in walk(net))


def is_library_object(thing: Any) -> bool:
    """Return True if a layer, loss, metric or penalty is this library's own."""
    module = str(getattr(thing, "__module__", ""))
    return module.partition(".")[0] == __name__.partition(".")[0]

"""One pass of a batch, forward and backward, on NumPy: as it stands, or recorded and replayed.

Both write the gradient of the loss over one vector g. Between forward and backward the loss is
looked at: g still holds what the training may have to go back to.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from bp_arrays.data import Batch
from bp_arrays.execution import Arena, Program, Recorded, Recorder, identity, lean
from bp_arrays.layers import Context, Layer
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.random import Stream
from bp_arrays.training._evaluate import mean_weight
from bp_arrays.training._metrics import Metric
from bp_arrays.training._penalty import Penalize
from bp_arrays.typing import Array, HostArray

logger = logging.getLogger("bp_arrays")


class Forward(NamedTuple):
    """What a forward pass gives: the loss, what it was divided by, the sums of each metric, and
    the function that returns the gradient of each trainable parameter, flat, one after another."""

    loss: Array
    weight: Any
    measured: tuple[tuple[Any, ...], ...]
    gradients: Callable[[], Iterator[Array]]


@dataclasses.dataclass(frozen=True)
class Objective:
    """What a training makes small: the loss of a batch, with the penalty if there is one."""

    model: Model
    loss: Loss
    metrics: tuple[Metric, ...]
    penalize: Penalize | None
    seed: int

    def forward(self, theta: Array, batch: Batch, step: Any) -> Forward:
        """The loss at θ, and the way to its gradient."""
        net, layout, native = self.model.net, self.model.layout, self.model.device.native
        context = Context(
            lean,
            native,
            training=True,
            needs_input_gradient=False,
            random=Stream(lean, native, self.seed, step),
        )
        params = layout.tree(theta, self.model.fixed_vector, lean)
        y, backward = net.forward(params, batch.x, context)
        loss, loss_backward = self.loss.forward(y, batch.t, context, batch.weight)
        weight = mean_weight(y, batch, self.loss, context)
        penalty: Any = None
        if self.penalize is not None:
            added, penalty = self.penalize(theta, weight)
            loss = loss + added
        measured = tuple(metric.sums(y, batch.t, context) for metric in self.metrics)

        def gradients() -> Iterator[Array]:
            _, found = backward(loss_backward())
            for entry, gradient in zip(layout.trainable, layout.flat(found, lean), strict=True):
                if penalty is not None:
                    gradient = gradient + penalty[entry.offset : entry.offset + entry.size]
                yield gradient

        return Forward(loss, weight, measured, gradients)


class PlainPass:
    """Operation by operation, through the layers, every time anew."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective

    def forward(self, theta: HostArray, batch: Batch, step: int) -> tuple[float, Any, Any]:
        """The loss, what it was divided by, and the sums of the metrics."""
        there = self._objective.forward(theta, batch, step)
        self._gradients = there.gradients
        return float(there.loss), there.weight, there.measured

    def backward(self, g: HostArray) -> None:
        """Write the gradient over g."""
        start = 0
        for gradient in self._gradients():
            stop = start + gradient.shape[0]
            g[start:stop] = gradient
            start = stop
        del self._gradients  # and with it the activations


class RecordedPass:
    """The same operations, in memory laid out once for batches of these shapes.

    Parameters
    ----------
    objective : Objective
    batch : Batch
        One of the shapes and dtypes of those to come.
    theta, g : arrays (parameters,)
        Where the parameters are and the gradient goes.
    arena : Arena
        Memory shared with the passes of other shapes.

    Raises
    ------
    Exception
        Of any kind, if the layers do something that cannot be recorded.
    """

    def __init__(
        self, objective: Objective, batch: Batch, theta: HostArray, g: HostArray, arena: Arena
    ) -> None:
        recorder = Recorder()
        given = [recorder.array(v.shape, v.dtype, "m") for v in (theta, g)]
        inputs = [
            None if part is None else recorder.array(part.shape, part.dtype) for part in batch
        ]
        step = recorder.array((1,), np.int32)
        there = objective.forward(given[0], Batch(*inputs), step)
        split = len(recorder.instructions)
        written = []
        start = 0
        for gradient in there.gradients():
            written.append(_placed(recorder, gradient, given[1], start, split))
            start += gradient.shape[0]
        self._results = (there.loss, there.weight, there.measured)
        results = [there.loss, there.weight, *itertools.chain(*there.measured)]
        self._program = Program(
            recorder.instructions[:split],
            recorder.instructions[split:],
            arguments=[a.slot for a in (*inputs, step) if a is not None],
            given=[each.slot for each in given],
            results=[result.slot for result in results if isinstance(result, Recorded)],
            written=written,
            arena=arena,
        )
        self._names = [each.slot.name for each in given]
        self._step = np.zeros(1, np.int32)
        self.bind(theta, g)

    def bind(self, theta: HostArray, g: HostArray) -> None:
        """Go on with the parameters and the gradient in other memory."""
        self._program.bind(dict(zip(self._names, (theta, g), strict=True)))
        loss, weight, measured = self._results
        self._values = (
            self._memory(loss),
            self._memory(weight),
            [[self._memory(part) for part in sums] for sums in measured],
        )

    def _memory(self, result: Any) -> Any:
        """Where a result is after a run; what is no array is what it is."""
        return self._program.array(result.slot) if isinstance(result, Recorded) else result

    def forward(self, theta: HostArray, batch: Batch, step: int) -> tuple[float, Any, Any]:
        """The loss, what it was divided by, and the sums of the metrics."""
        self._step[0] = step
        self._batch = batch if batch.weight is not None else batch[:2]
        self._program.forward(*self._batch, self._step)
        loss, weight, measured = self._values
        return loss.item(), _read(weight), tuple([tuple(map(_read, sums)) for sums in measured])

    def backward(self, g: HostArray) -> None:
        """Write the gradient over g, which is the one it was bound to."""
        self._program.backward(*self._batch, self._step)


def _placed(recorder: Recorder, gradient: Any, g: Recorded, start: int, split: int) -> Any:
    """Have a flat gradient computed into its part of g; returns the slot that is written there.

    An array that backward computes is computed right there. Others are copied: a part of another
    array, the gradient of two parameters at once, or one that is known before backward.
    """
    stop = start + gradient.shape[0]
    if isinstance(gradient, Recorded):
        root = gradient.slot.root
        computed = {id(i.result) for i in recorder.instructions[split:] if not i.assigned}
        straight = gradient.slot.contiguous and np.prod(root.shape) == gradient.size
        if id(root) in computed and straight and root.dtype == gradient.dtype == g.dtype:
            shape = root.shape
            root.lies_in(g.slot, lambda memory: memory[start:stop].reshape(shape))
            return root
    copy = recorder.result(identity, (gradient,), gradient.shape, g.dtype, copied=True)
    copy.slot.lies_in(g.slot, lambda memory: memory[start:stop])
    return copy.slot


def _read(value: Any) -> Any:
    """A result as a number; larger ones lie where the next step will write over them."""
    return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value


def is_ours(layer: Layer) -> bool:
    """Whether a layer and all layers in it are of this library."""
    if type(layer).__module__.partition(".")[0] != __name__.partition(".")[0]:
        return False
    parts: list[Any] = []
    for field in dataclasses.fields(layer):
        value = getattr(layer, field.name)
        parts += value if isinstance(value, tuple) else [value]
    return all(is_ours(part) for part in parts if isinstance(part, Layer))

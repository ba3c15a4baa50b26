"""`TrainingStep`: one step of training, gradient → update.

    loss, weight, g, state, sums = gradient(theta, state, batch, counter)
    theta, vectors = update(theta, g, vectors, scalars)

If the batch has several parts, `_parts.py` sums their gradients between these lines. Everything
that changes is passed in and returned. A runner (`runners/`) decides how these lines run: operation
by operation, replayed in preallocated memory, compiled, or as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from bp_arrays.layers import Context
from bp_arrays.model import Gradient, Model, Objective, PartFactors
from bp_arrays.optimizers import Optimizer, scaled_update
from bp_arrays.random import BatchPart
from bp_arrays.typing import Array, Namespace

Update = Callable[..., tuple[Array, tuple[Array, ...]]]
"""(theta, g, vectors, scalars, xp) -> theta, vectors."""


class Stepped(NamedTuple):
    """The results of one step.

    Parameters
    ----------
    theta, state : arrays
        The trainable and the other parameters after the update.
    vectors : tuple of arrays
        The optimizer's state, and behind it that of loss scaling if there is one.
    loss : 0-d array
        Of the batch, before the update.
    sums : (loss · weight, weight, sums of the metrics)
        The contribution of the batch to the epoch's totals.
    """

    theta: Array
    state: Array
    vectors: tuple[Array, ...]
    loss: Array
    sums: tuple[Any, Any, tuple[tuple[Any, ...], ...]]


@dataclass(frozen=True, eq=False)
class TrainingStep:
    """One step of training, a pure function of everything that changes.

    Parameters
    ----------
    model : Model
        For its device and dtype; its parameters are passed in.
    objective : Objective
        The loss of the model's outputs, the penalty and the metrics.
    optimizer : Optimizer
    seed : int
        Seed of the random numbers of layers such as Dropout.
    xp : namespace
        The array functions that the step uses.
    traced : bool, default False
        Whether a compiler traces the step and chooses the device of new arrays.
    fused_update : function, optional
        The optimizer's update in another form, of the same bits, that a runner has chosen.
    """

    model: Model
    objective: Objective
    optimizer: Optimizer
    seed: int
    xp: Namespace
    traced: bool = False
    fused_update: Update | None = None
    _constants: dict[Any, Array] = field(default_factory=dict, repr=False)
    _sum_dtype: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        device = self.model.device
        object.__setattr__(self, "_sum_dtype", device.dtype(device.sum_dtype))

    def __call__(
        self,
        theta: Array,
        state: Array,
        vectors: tuple[Array, ...],
        batch: Any,
        scalars: tuple[Any, ...],
        counter: Any,
    ) -> Stepped:
        """Compute the gradient, and update.

        Parameters
        ----------
        theta, state : arrays
            The trainable parameters, and the others.
        vectors : tuple of arrays
            The optimizer's state, first that of `optimizer.init`; `TrainingState.arrays`.
        batch : (x, t, weight)
            Checked arrays on the device; weight may be None.
        scalars : tuple
            The numbers of this update: `optimizer.scalars(counter + 1, rate)`.
        counter : int or 0-d array
            The number of updates before this one, which selects the random numbers.
        """
        loss_scale = self.loss_scale(vectors)
        loss, weight, g, new_state, sums = self.gradient(
            theta, state, batch, counter, loss_scale=loss_scale
        )
        theta, state, vectors, loss = self.updated(
            theta, state, g, new_state, vectors, scalars, loss
        )
        return Stepped(theta, state, vectors, loss, (loss * weight, weight, sums))

    def gradient(
        self,
        theta: Array,
        state: Array,
        batch: Any,
        counter: Any,
        part: BatchPart | None = None,
        scale: PartFactors | None = None,
        loss_scale: Array | None = None,
    ) -> Gradient:
        """Compute the loss of a batch and its gradient by θ.

        Parameters
        ----------
        theta, state, batch, counter
            As of `__call__`.
        part, scale : BatchPart, PartFactors, optional
            If the batch is a part of a larger one: its rows, and its factors.
        loss_scale : 0-d array, optional
            As `loss_scale` returns it.
        """
        context = self.context(counter, part)
        if loss_scale is not None:
            context = replace(context, loss_scale=loss_scale)
        return self.objective.gradient(theta, state, batch, context, scale)

    def loss_scale(self, vectors: tuple[Array, ...]) -> Array | None:
        """Return the scale of the loss, if the model computes in float16."""
        return vectors[-1][0, ...] if self.model.scales_loss else None

    def updated(
        self,
        theta: Array,
        state: Array,
        g: Array,
        new_state: Array,
        vectors: tuple[Array, ...],
        scalars: tuple[Any, ...],
        loss: Array,
    ) -> tuple[Array, Array, tuple[Array, ...], Array]:
        """Return θ, the state, the vectors and the loss after the update.

        With loss scaling, those before it if a gradient has overflowed in float16; the loss is NaN
        if it has done so with the smallest scale.
        """
        if not self.model.scales_loss:
            theta, vectors = self.update(theta, g, vectors, scalars)
            return theta, new_state, vectors, loss
        *own, scaling = vectors
        before = theta, state, tuple(own)
        theta, own_vectors = self.update(theta, g, tuple(own), scalars)
        after = theta, new_state, own_vectors
        (theta, state, own_vectors), scaling, loss = scaled_update(
            g, before, after, scaling, loss, self.xp
        )
        return theta, state, (*own_vectors, scaling), loss

    def update(
        self, theta: Array, g: Array, vectors: tuple[Array, ...], scalars: tuple[Any, ...]
    ) -> tuple[Array, tuple[Array, ...]]:
        """Apply the optimizer; parameters as above."""
        update = self.fused_update or self.optimizer.update
        return update(theta, g, vectors, scalars, self.xp)

    def context(self, counter: Any, part: BatchPart | None = None) -> Context:
        """Return the context of the step after the first `counter` ones."""
        return self.model.context(
            training=True,
            needs_input_gradient=False,
            step=counter,
            seed=self.seed,
            xp=self.xp,
            traced=self.traced,
            constants=None if self.traced else self._constants,
            sum_dtype=self._sum_dtype,
            part=part,
        )

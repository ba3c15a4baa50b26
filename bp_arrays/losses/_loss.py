"""The contract of a loss, and what every loss does alike: weights and reduction.

A concrete loss writes one method, `per_sample`: the loss of each sample, and its derivative by
the output. Here the samples are put together, value and gradient from the same coefficients c_i:

    L = Σ_i c_i ℓ_i        c_i = w_i / Σ w for "mean", w_i for "sum"

A loss that has a value at every position of a sample, such as CrossEntropy of a sequence, says so
by `positions`; i then runs over all positions of all samples.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from bp_arrays.checks import array_error, check_choice
from bp_arrays.layers import Context
from bp_arrays.typing import Array, Shape

PerSample = tuple[Array, Callable[[Array], Array]]
"""ℓ at every position, and the function from coefficients c to ∂L/∂y = c_i ∂ℓ_i/∂y_i."""


@dataclass(frozen=True, kw_only=True)
class Loss(ABC):
    """How far outputs are from targets, as one number, and its derivative by the outputs.

    Parameters
    ----------
    reduction : "mean" or "sum", default "mean"
        Whether the samples' losses are averaged, by their weights if there are any, or added up.

    Raises
    ------
    InputError
        For another reduction.
    """

    reduction: str = "mean"

    takes_classes: ClassVar[bool] = False
    """Whether targets may be class numbers, one a sample."""

    def __post_init__(self) -> None:
        check_choice(self, "reduction", ("mean", "sum"))

    @abstractmethod
    def per_sample(self, y: Array, t: Array, ctx: Context) -> PerSample:
        """The loss ℓ_i of each position, and the function that turns coefficients c into
        c_i ∂ℓ_i/∂y_i, of the shape of y; c is one number or has the axes of y, the last ones 1."""

    def positions(self, y: Shape) -> Shape:
        """The shape of what is averaged for outputs of shape y: by default (batch,)."""
        return y[:1]

    def counted(self, t: Array) -> Array | None:
        """Which of the targets count, as booleans; None if all do. Host arrays are taken too."""
        return None

    def forward(
        self, y: Array, t: Array, ctx: Context, weight: Array | None = None
    ) -> tuple[Array, Callable[[], Array]]:
        """The loss of a batch, and the function that returns δ = ∂L/∂y.

        Parameters
        ----------
        y : (batch, ..., outputs)
        t : targets, of the shape of y; or classes (batch, ...) for losses that take them
        ctx : Context
        weight : (batch,) or of the shape of `positions`, optional
            How much each sample, or each position, counts.

        Returns
        -------
        value : 0-d array
        backward : function without arguments that returns δ, of the shape of y

        Raises
        ------
        InputError
            If the shapes of y, t and weight do not fit, or the batch is empty.
        """
        shape = tuple(y.shape)
        self.check_shapes(shape, tuple(t.shape))
        if shape[0] == 0:
            raise array_error(type(self).__name__, "y", "a batch that is not empty", shape)
        if weight is not None:
            self.check_weight_shape(shape, tuple(weight.shape))
        xp, positions = ctx.xp, self.positions(shape)
        losses, derivative = self.per_sample(y, t, ctx)
        weight = self.sample_weights(t, y, ctx, weight)
        if weight is None:
            c = 1.0 / math.prod(positions) if self.reduction == "mean" else 1.0
            return xp.sum(losses) * c, lambda: derivative(c)
        if self.reduction == "mean":
            total = xp.sum(weight)
            # a batch in which nothing counts has the loss 0, not 0 / 0
            weight = weight / xp.where(total > 0.0, total, 1.0)
        column = xp.reshape(weight, positions + (1,) * (y.ndim - len(positions)))
        return xp.sum(losses * weight), lambda: derivative(column)

    def sample_weights(
        self, t: Array, y: Array, ctx: Context, weight: Array | None
    ) -> Array | None:
        """How much each position counts in the mean; None if all count alike."""
        if weight is None or weight.ndim == len(positions := self.positions(tuple(y.shape))):
            return weight
        # the weight of a sample is that of each of its positions
        column = ctx.xp.reshape(weight, positions[:1] + (1,) * (len(positions) - 1))
        return ctx.xp.broadcast_to(column, positions)

    def total_weight(self, t: Array, y: Array, ctx: Context, weight: Array | None) -> Array:
        """What the mean of a batch was divided by."""
        weights = self.sample_weights(t, y, ctx, weight)
        if weights is None:
            return float(math.prod(self.positions(tuple(y.shape))))
        return ctx.xp.sum(weights)

    def check_shapes(self, y: Shape, t: Shape) -> None:
        """Raise InputError unless targets of shape t suit outputs of shape y.

        Equal shapes are asked for: (batch,) against (batch, 1) would broadcast to
        (batch, batch) and train on nonsense.
        """
        if y != t:
            expected = f"the shape of the output, {y}"
            raise array_error(type(self).__name__, "t", expected, t, flatten_advice(y, t))

    def check_weight_shape(self, y: Shape, weight: Shape) -> None:
        """Raise InputError unless weights of this shape suit outputs of shape y."""
        positions = self.positions(y)
        if weight not in (y[:1], positions):
            expected = f"one number per sample, shape {y[:1]}"
            if len(positions) > 1:
                expected += f", or per position, {positions}"
            raise array_error(type(self).__name__, "weight", expected, weight)


def flatten_advice(y: Shape, t: Shape) -> str:
    """What to do about outputs per position and targets per sample: "" if that is not the fault."""
    if len(y) > 2 and t in (y[:1], (y[0], y[-1])):
        return "for one output per sample put Flatten() at the front of the net"
    return ""

"""`Loss`: the contract of a loss, and the weights and reduction that all losses share.

A subclass defines one method, `per_sample`: the loss of each sample, and its derivative by the
output. `forward` combines the samples, value and gradient with the same coefficients c_i:

    L = Σ_i c_i ℓ_i        c_i = w_i / Σ w for "mean", w_i for "sum"

For outputs in half precision all of this is computed in float32, and only δ is rounded.
A loss that has a value at every position of a sample, such as CrossEntropy of a sequence,
overrides `positions`; i then runs over all positions of all samples.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from bp_arrays.checks import array_error, check_choice
from bp_arrays.devices import active, direct_array, direct_classes, direct_values
from bp_arrays.kernels import narrowed, widened
from bp_arrays.layers import Context
from bp_arrays.trees import Tree
from bp_arrays.typing import Array, Shape

PerSample = tuple[Array, Callable[[Array], Array]]
"""ℓ at every position, and the function from coefficients c to ∂L/∂y = c_i ∂ℓ_i/∂y_i."""


Refused = Iterable[tuple[Array, str]]
"""Masks of targets that are refused, each with what is expected of them."""

OutputKind = Literal["values", "logits", "logarithms"]


@dataclass(frozen=True, kw_only=True)
class Loss(ABC):
    """Base class of losses: the distance of outputs from targets, and its derivative.

    Parameters
    ----------
    reduction : "mean" or "sum", default "mean"
        Whether the samples' losses are averaged, weighted by the sample weights, or summed.

    Raises
    ------
    InputError
        For another reduction.
    """

    reduction: str = "mean"

    takes_classes: ClassVar[bool] = False
    """Whether targets may be class numbers, one per sample."""

    target_range: ClassVar[tuple[float, float] | None] = None
    """The lowest and the highest target that is not a class number; None if any number fits."""

    target_values: ClassVar[tuple[float, ...] | None] = None
    """The only numbers that targets may be, such as labels; None if any number fits."""

    targets_sum_to_one: ClassVar[bool] = False
    """Whether targets that are no class numbers are the probabilities of classes."""

    output_kind: ClassVar[OutputKind | None] = None
    """"values" if the loss compares outputs with targets directly, "logits" if it includes a
    softmax or sigmoid or the outputs are scores around 0, "logarithms" if it takes their
    exponential, None if unknown. Some metrics fit only one of them."""

    uses_inputs: ClassVar[bool] = False
    """Whether `per_sample` reads `ctx.x`, the samples of the batch as they entered the net, in the
    model's dtype: such as a physics term whose residual has an input in it. `fit`, `evaluate`,
    `Trainer` and `Model.gradients` set it; elsewhere pass `Context(..., x=x)`."""

    compares_samples: ClassVar[bool] = False
    """Whether the loss of a sample depends on the other samples of its batch."""

    explainable: ClassVar[bool] = True
    """Whether the loss of one sample can be explained by the derivatives by its outputs: False if
    it compares samples, or sums over more than the outputs of one sample with one target."""

    def __post_init__(self) -> None:
        check_choice(self, "reduction", ("mean", "sum"))

    @property
    def is_separable(self) -> bool:
        """Whether the loss of each sample depends on it alone: then that of a batch, their mean or
        sum, may be computed part by part."""
        return not self.compares_samples

    @abstractmethod
    def per_sample(self, y: Array, t: Array, ctx: Context) -> PerSample:
        """Return the loss ℓ_i of each position, and the function from c to c_i ∂ℓ_i/∂y_i.

        The function returns an array of the shape of y; its argument, the coefficients c, is one
        number, or an array of as many axes as y that broadcasts to its shape.
        """

    def positions(self, y: Shape) -> Shape:
        """Return the shape of the losses for outputs of shape y: by default (batch,)."""
        return y[:1]

    def weighted_positions(self, y: Shape) -> Shape:
        """Return the shape of weights that are not per sample: by default that of `positions`."""
        return self.positions(y)

    def target_shape(self, y: Shape) -> Shape:
        """Return the shape of targets that are not class numbers: by default that of y.

        Override it for targets of another shape, such as the value for a predicted mean and spread:
        `(*y[:-1], y[-1] // 2)`. The batch comes first in both.
        """
        return y

    def target_classes(self, y: Shape) -> int | None:
        """Return the number of classes that targets may name, by default one for each output.

        None if any whole number from 0 names a class.
        """
        return y[-1]

    def refused(self, t: Array, y: Shape) -> Refused:
        """Return masks of class targets to refuse, (batch, ...) or (batch,), and what is expected.

        By default none. t are whole numbers, on the host, some of the rows at a time.
        """
        return ()

    def counted(self, t: Array) -> Array | None:
        """Return the mask of the targets that count, None if all do; accepts host arrays too."""
        return None

    def __call__(self, y: Tree, t: Tree, weight: Any = None) -> tuple[Array, Tree]:
        """Return the loss of a batch and δ = ∂L/∂y, for a training step written by hand.

        It is `forward` with the context of y, and its backward called at once.

        Parameters
        ----------
        y : array (batch, ..., outputs)
            Of any device; lists become NumPy. For `CombinedLoss` a dict or tuple of arrays.
        t : array
            Targets as for `fit`, on the device of y or on the host.
        weight : array (batch,), optional
            The weight of each sample.

        Returns
        -------
        value : 0-d array
        delta : array of the shape of y

        Raises
        ------
        InputError, DeviceMismatchError
            If y, t and weight do not fit each other, for a class that y has no output for, or for
            arrays on different devices.

        Examples
        --------
        >>> import bp_arrays as bp
        >>> value, delta = bp.L2Loss()([[0.5, 1.0]], [[0.0, 1.0]])
        >>> float(value), delta.tolist()
        (0.125, [[0.5, 0.0]])
        """
        y, t, weight = self._direct(y, t, weight)
        with active(y):
            value, backward = self.forward(y, t, Context.of(y), weight)
            return value, backward()

    def _direct(self, y: Any, t: Any, weight: Any) -> tuple[Tree, Tree, Any]:
        """Return the arguments of a direct call as arrays on one device."""
        where = type(self).__name__
        y = direct_values(where, "y", y)
        shape = tuple(y.shape)
        if not shape:
            raise array_error(where, "y", "a batch, shape (batch, outputs)", shape)
        t = direct_array(where, "t", t, y)
        if self.takes_classes and t.ndim < y.ndim:
            t = direct_classes(where, t, y, self.target_classes(shape), self.counted)
        else:
            t = direct_values(where, "t", t, y)
            if t.ndim == 1 and self.target_shape(shape) == (shape[0], 1):  # as in fit
                t = t[:, None]
        return y, t, None if weight is None else direct_values(where, "weight", weight, y)

    def forward(
        self, y: Array, t: Array, ctx: Context, weight: Array | None = None
    ) -> tuple[Array, Callable[[], Array]]:
        """Return the loss of a batch, and the function that returns δ = ∂L/∂y.

        `loss(y, t)` does both at once, without a context.

        Parameters
        ----------
        y : array (batch, ..., outputs)
        t : array
            Targets of the shape of y; or classes (batch, ...) if the loss accepts them.
        ctx : Context
        weight : array (batch,) or of the shape of `weighted_positions`, optional
            The weight of each sample, or of each position.

        Returns
        -------
        value : 0-d array, in float32 for outputs in half precision
        backward : function without arguments that returns δ, of the shape of y

        Raises
        ------
        InputError
            If the shapes of y, t and weight do not fit, or the batch is empty.
        """
        if self.uses_inputs and ctx.x is None:
            raise array_error(
                type(self).__name__,
                "ctx",
                "the samples of the batch as ctx.x",
                None,
                "write Context(xp, device, x=x); fit, evaluate and Model.gradients do",
            )
        shape = tuple(y.shape)
        self.check_shapes(shape, tuple(t.shape))
        if shape[0] == 0:
            raise array_error(type(self).__name__, "y", "a batch that is not empty", shape)
        if weight is not None:
            self.check_weight_shape(shape, tuple(weight.shape))
        xp = ctx.xp
        wide = widened(y, xp)
        if wide is y:
            return self._combined(y, t, ctx, weight)
        t = widened(t, xp) if t.dtype == y.dtype else t  # classes are integers
        weight = None if weight is None else widened(weight, xp)
        value, backward = self._combined(wide, t, ctx, weight)
        return value, lambda: narrowed(backward(), y.dtype, xp)

    def _combined(
        self, y: Array, t: Array, ctx: Context, weight: Array | None
    ) -> tuple[Array, Callable[[], Array]]:
        """Combine the losses of the samples by their coefficients."""
        xp, positions = ctx.xp, self.positions(tuple(y.shape))
        losses, derivative = self.per_sample(y, t, ctx)
        weight = self.sample_weights(t, y, ctx, weight)
        if weight is None:
            c = 1.0 / math.prod(positions) if self.reduction == "mean" else 1.0
            return xp.sum(losses) * c, lambda: derivative(c)
        if self.reduction == "mean":
            total = xp.sum(weight)
            # a batch of total weight 0 has the loss 0, not 0 / 0
            weight = weight / xp.where(total > 0.0, total, 1.0)
        column = xp.reshape(weight, positions + (1,) * (y.ndim - len(positions)))

        # where, as the loss of what does not count may overflow, and 0 · ∞ would be NaN
        def backward() -> Array:
            delta = derivative(column)
            return xp.where(xp.logical_and(column == 0.0, xp.isnan(delta)), 0.0, delta)

        return xp.sum(xp.where(weight > 0.0, losses, 0.0) * weight), backward

    def sample_weights(
        self, t: Array, y: Array, ctx: Context, weight: Array | None
    ) -> Array | None:
        """Return the weight of each position in the mean; None if all are equal."""
        if weight is None or weight.ndim == len(positions := self.positions(tuple(y.shape))):
            return weight
        # the weight of a sample applies to each of its positions
        column = ctx.xp.reshape(weight, positions[:1] + (1,) * (len(positions) - 1))
        return ctx.xp.broadcast_to(column, positions)

    def total_weight(self, t: Array, y: Array, ctx: Context, weight: Array | None) -> Array:
        """Return the divisor of the mean of a batch."""
        y = widened(y, ctx.xp)
        weight = None if weight is None else widened(weight, ctx.xp)
        weights = self.sample_weights(t, y, ctx, weight)
        if weights is None:
            return float(math.prod(self.positions(tuple(y.shape))))
        return ctx.xp.sum(weights)

    def check_shapes(self, y: Shape, t: Shape) -> None:
        """Raise InputError unless targets of shape t suit outputs of shape y.

        The shape must be that of `target_shape`: (batch,) against (batch, 1) would broadcast to
        (batch, batch) and train on nonsense.
        """
        shape = self.target_shape(y)
        if shape != t:
            expected = f"the shape of the output, {y}"
            if shape != y:
                expected = f"shape {shape} for outputs of shape {y}"
            raise array_error(type(self).__name__, "t", expected, t, flatten_advice(y, t))

    def check_weight_shape(self, y: Shape, weight: Shape) -> None:
        """Raise InputError unless weights of this shape suit outputs of shape y."""
        positions = self.weighted_positions(y)
        if weight not in (y[:1], positions):
            expected = f"one number per sample, shape {y[:1]}"
            if len(positions) > 1:
                expected += f", or per position, {positions}"
            raise array_error(type(self).__name__, "weight", expected, weight)


def flatten_advice(y: Shape, t: Shape) -> str:
    """Return advice for outputs per position with targets per sample; "" in other cases."""
    if len(y) > 2 and t in (y[:1], (y[0], y[-1])):
        return (
            "for one output per sample put Flatten() at the front of the net; for the members of "
            "an Ensemble train with EnsembleLoss(loss)"
        )
    return ""

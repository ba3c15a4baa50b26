"""The contract of a loss, and what every loss does alike: weights and reduction.

A concrete loss writes one method, `per_sample`: the loss of each sample, and its derivative by
the output. Here the samples are put together, value and gradient from the same coefficients c_i:

    L = Σ_i c_i ℓ_i        c_i = w_i / Σ w for "mean", w_i for "sum"
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from bp_arrays.errors import InputError
from bp_arrays.layers import Context
from bp_arrays.typing import Array

PerSample = tuple[Array, Callable[[Array], Array]]
"""ℓ (batch,), and the function from coefficients c to ∂L/∂y = c_i ∂ℓ_i/∂y_i."""


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
        if self.reduction not in ("mean", "sum"):
            raise InputError(f'reduction: expected "mean" or "sum", got {self.reduction!r}')

    @abstractmethod
    def per_sample(self, y: Array, t: Array, ctx: Context) -> PerSample:
        """The loss ℓ_i of each sample, (batch,), and the function that turns coefficients c,
        one number or (batch, 1), into c_i ∂ℓ_i/∂y_i, of the shape of y."""

    def forward(
        self, y: Array, t: Array, ctx: Context, weight: Array | None = None
    ) -> tuple[Array, Callable[[], Array]]:
        """The loss of a batch, and the function that returns δ = ∂L/∂y.

        Parameters
        ----------
        y : (batch, outputs)
        t : targets, of the shape of y; or classes (batch,) for losses that take them
        ctx : Context
        weight : (batch,), optional
            How much each sample counts.

        Returns
        -------
        value : 0-d array
        backward : function without arguments that returns δ, of the shape of y

        Raises
        ------
        InputError
            If the shapes of y, t and weight do not fit, or the batch is empty.
        """
        self.check_shapes(tuple(y.shape), tuple(t.shape))
        self._check_batch(tuple(y.shape), weight)
        xp = ctx.xp
        losses, derivative = self.per_sample(y, t, ctx)
        weight = self.sample_weights(t, y, ctx, weight)
        if weight is None:
            c = 1.0 / y.shape[0] if self.reduction == "mean" else 1.0
            return xp.sum(losses) * c, lambda: derivative(c)
        if self.reduction == "mean":
            total = xp.sum(weight)
            # a batch in which no sample counts has the loss 0, not 0 / 0
            weight = weight / xp.where(total > 0.0, total, 1.0)
        column = xp.reshape(weight, (y.shape[0],) + (1,) * (y.ndim - 1))
        return xp.sum(losses * weight), lambda: derivative(column)

    def sample_weights(
        self, t: Array, y: Array, ctx: Context, weight: Array | None
    ) -> Array | None:
        """How much each sample counts in the mean, (batch,); None if all count alike."""
        return weight

    def total_weight(self, t: Array, y: Array, ctx: Context, weight: Array | None) -> Array:
        """What the mean of a batch was divided by."""
        weights = self.sample_weights(t, y, ctx, weight)
        return float(t.shape[0]) if weights is None else ctx.xp.sum(weights)

    def check_shapes(self, y: tuple[int, ...], t: tuple[int, ...]) -> None:
        """Raise InputError unless targets of shape t suit outputs of shape y.

        Equal shapes are asked for: (batch,) against (batch, 1) would broadcast to
        (batch, batch) and train on nonsense.
        """
        if y != t:
            raise InputError(
                f"{type(self).__name__}: targets must have the shape of the output, {y}, got {t}"
            )

    def _check_batch(self, y: tuple[int, ...], weight: Array | None) -> None:
        if y[0] == 0:
            raise InputError(
                f"{type(self).__name__}: an empty batch has no loss, got outputs of shape {y}"
            )
        if weight is not None and tuple(weight.shape) != y[:1]:
            raise InputError(
                f"{type(self).__name__}: weights must be one number a sample, {y[:1]}, "
                f"got {tuple(weight.shape)}"
            )

"""`PartFunctions`: the gradient of a part of a batch, and the update by the sum over all parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bp_arrays.data import Batch, rows_of
from bp_arrays.kernels import narrowed
from bp_arrays.model import PartFactors
from bp_arrays.random import BatchPart
from bp_arrays.training._parts import EXTRAS
from bp_arrays.training._step import TrainingStep
from bp_arrays.typing import Array


@dataclass(frozen=True, eq=False)
class PartFunctions:
    """Pure functions of arrays, which may be compiled and kept.

    Parameters
    ----------
    step : TrainingStep
        Without a penalty.
    penalty : L2Penalty, optional
        On the model's device.
    wide : str
        The dtype of sums.
    """

    step: TrainingStep
    penalty: Any
    wide: str

    @property
    def is_mean(self) -> bool:
        """True if the loss of a batch is a mean, False for a sum."""
        return self.step.objective.loss.reduction == "mean"

    def part(
        self,
        total: int,
        theta: Array,
        others: Array,
        batch: Batch,
        counter: Any,
        first: Array,
        scale: PartFactors,
        loss_scale: Array | None = None,
    ) -> tuple[Array, Any]:
        """Return ω_p g_p, the changes of the state and the sums in one vector; and the metrics.

        Parameters
        ----------
        total : int
            The rows of the whole batch, on which random numbers depend; 0 if there are none.
        theta, others, batch, counter
            As of `TrainingStep.gradient`.
        first : int array (1,)
            The number of rows before those of the part.
        scale : PartFactors
        loss_scale : 0-d array, optional
            As of `TrainingStep.gradient`.
        """
        xp, dtype = self.step.xp, self.step.model.device.dtype(self.wide)
        rows = rows_of(batch)
        part = BatchPart(first, rows, total or rows)
        result = self.step.gradient(theta, others, batch, counter, part, scale, loss_scale)
        by_weight = scale.by_weight[0, ...]
        one = xp.ones_like(by_weight)
        divisor = one * result.weight
        omega = by_weight * (rows if isinstance(result.weight, float) else result.weight)
        if not self.is_mean:
            omega = one
        value = xp.where(omega > 0.0, omega * result.loss, 0.0 * one)
        numbers = [omega, value, divisor, one * rows, 0.0 * one]
        change = (narrowed(result.state, dtype, xp) - narrowed(others, dtype, xp)) * by_weight
        extras = xp.stack([narrowed(number, dtype, xp) for number in numbers])
        return xp.concat([narrowed(result.g, dtype, xp), change * rows, extras]), result.sums

    def finish(
        self, theta: Array, others: Array, vectors: Any, vector: Array, scalars: tuple[Any, ...]
    ) -> tuple[Array, Array, Any, Array, Any]:
        """Return the parameters, the optimizer's state, the loss and its divisor after the update.

        Parameters
        ----------
        theta, others, vectors, scalars
            As of `TrainingStep`.
        vector : array
            The sum over all parts of the vector that `part` returns.
        """
        xp, size = self.step.xp, theta.shape[0]
        extras = vector[-EXTRAS:]
        omega, loss, weight = extras[0, ...], extras[1, ...], extras[2, ...]
        g = vector[:size]
        if self.is_mean:
            divisor = xp.where(omega > 0.0, omega, xp.ones_like(omega))
            g, loss = g / divisor, loss / divisor
        else:
            weight = xp.ones_like(weight)
        if self.penalty is not None:
            value, gradient = self.penalty(theta, weight if self.is_mean else 1.0, xp)
            loss, g = loss + value, g + narrowed(gradient, g.dtype, xp)
        change = vector[size:-EXTRAS]
        new_others = others + narrowed(change, others.dtype, xp)
        g = narrowed(g, theta.dtype, xp)
        theta, others, vectors, loss = self.step.updated(
            theta, others, g, new_others, vectors, scalars, loss
        )
        return theta, others, vectors, loss, weight

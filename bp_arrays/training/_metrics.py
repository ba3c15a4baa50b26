"""What is measured beside the loss.

A metric adds up a few sums over the batches, on the device, and makes one number of them at the
end of the epoch, so that measuring never waits for the device in between.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bp_arrays.layers import Context
from bp_arrays.typing import Array


@dataclass(frozen=True)
class Metric:
    """Base of metrics: sums over samples, and the number they make."""

    @property
    def name(self) -> str:
        """The name of the series in the history."""
        raise NotImplementedError

    def sums(self, y: Array, t: Array, ctx: Context) -> tuple[Any, ...]:
        """Numbers or arrays for one batch, to be added up over the batches."""
        raise NotImplementedError

    def value(self, sums: tuple[Any, ...]) -> float:
        """The number that the added-up sums, on the host in float64, make."""
        raise NotImplementedError


@dataclass(frozen=True)
class Accuracy(Metric):
    """The share of samples whose largest output is at the target class.

    Targets are classes (batch,) or one row of class weights a sample (batch, classes), whose
    largest counts. For a single output, or with several yes-no outputs, see `BinaryAccuracy`.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.Identity(), input_shape=(2,), device="cpu")
    >>> x, t = [[3.0, 1.0], [0.0, 2.0]], [0, 0]
    >>> bp.evaluate(model, x, t, loss=bp.CrossEntropy(), metrics=[bp.Accuracy()])["accuracy"]
    0.5
    """

    @property
    def name(self) -> str:
        return "accuracy"

    def sums(self, y: Array, t: Array, ctx: Context) -> tuple[Any, ...]:
        xp = ctx.xp
        predicted = xp.argmax(y, axis=-1)
        target = t if t.ndim < y.ndim else xp.argmax(t, axis=-1)
        right = predicted == xp.astype(target, predicted.dtype)
        return _share(right, y, ctx)

    def value(self, sums: tuple[Any, ...]) -> float:
        return float(sums[0] / sums[1])


@dataclass(frozen=True)
class BinaryAccuracy(Metric):
    """The share of yes-no outputs on the side of the threshold where the target is.

    Parameters
    ----------
    threshold : float, default 0.0
        What divides yes from no in the output: 0 for logits, 0.5 for probabilities. Targets
        are divided at 0.5.
    """

    threshold: float = 0.0

    @property
    def name(self) -> str:
        return "accuracy"

    def sums(self, y: Array, t: Array, ctx: Context) -> tuple[Any, ...]:
        right = (y > self.threshold) == (t > 0.5)
        return _share(right, y, ctx)

    def value(self, sums: tuple[Any, ...]) -> float:
        return float(sums[0] / sums[1])


@dataclass(frozen=True)
class R2(Metric):
    """The coefficient of determination 1 − Σ(t − y)² / Σ(t − mean t)², the mean over outputs.

    1 is a perfect fit; 0 is as good as always answering the mean of the targets.
    """

    @property
    def name(self) -> str:
        return "r2"

    def sums(self, y: Array, t: Array, ctx: Context) -> tuple[Any, ...]:
        # Each batch gives the spread about its own mean, which a large mean cannot drown.
        xp, n = ctx.xp, float(t.shape[0])
        total = xp.sum(t, axis=0)
        deviation = t - total / n
        residual = t - y
        return (
            n,
            total,
            total * total / n,
            xp.sum(deviation * deviation, axis=0),
            xp.sum(residual * residual, axis=0),
        )

    def value(self, sums: tuple[Any, ...]) -> float:
        n, total, between, within, residual = sums
        spread = within + (between - total * total / n)
        scores = [
            1.0 - r / s if s > 0.0 else (1.0 if r == 0.0 else -math.inf)
            for r, s in zip(residual.tolist(), spread.tolist(), strict=True)
        ]
        return sum(scores) / len(scores)


def _share(right: Array, y: Array, ctx: Context) -> tuple[Any, ...]:
    return ctx.xp.sum(ctx.xp.astype(right, y.dtype)), float(math.prod(right.shape))

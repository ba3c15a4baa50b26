"""Metrics: accuracy, binary accuracy and R², summed over batches.

A metric adds up a few sums over the batches, on the device, and computes one number from them at
the end of the epoch, so that it never waits for the device in between. Sums within a batch are in
`ctx.sum_dtype`, those over batches in float64: on the device, or on the host if it lacks float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.checks import (
    argument_error,
    check_bool,
    check_integer,
    check_kind,
    check_number,
)
from bp_arrays.errors import InputError
from bp_arrays.inputs import (
    describe_location,
    first_bad_index,
    first_bad_sum,
    first_index,
    first_outside,
)
from bp_arrays.layers import Context
from bp_arrays.losses import CombinedLoss, EnsembleLoss, Loss
from bp_arrays.trees import described_tree, is_shape
from bp_arrays.typing import Array, HostArray, Namespace, Shape


@dataclass(frozen=True)
class Metric:
    """Base class of metrics: sums over samples, and a number computed from them."""

    @property
    def name(self) -> str:
        """The name of the series in the history."""
        raise NotImplementedError

    def sums(
        self, y: Array, t: Array, ctx: Context, weight: Array | None = None
    ) -> tuple[Any, ...]:
        """Return numbers or arrays of one batch, to be merged over the batches.

        Parameters
        ----------
        y : array (batch, ..., outputs)
        t : array
            Targets as the loss expects them.
        ctx : Context
            `ctx.x` is the samples of the batch, as they entered the net.
        weight : array (batch,), or (batch, ...) of positions, optional
            The sample weights. A metric without this parameter is refused where there are weights.
        """
        raise NotImplementedError

    def merge(
        self, total: tuple[Any, ...], sums: tuple[Any, ...], xp: Namespace
    ) -> tuple[Any, ...]:
        """Combine the sums of all batches so far with those of the next one; by default add them.

        The first total may be zeros.

        Parameters
        ----------
        total, sums : tuples of numbers or arrays in float64
        xp : namespace of the arrays
        """
        return tuple([a + b for a, b in zip(total, sums, strict=True)])

    def value(self, sums: tuple[Any, ...]) -> float:
        """Return the metric, computed from the merged sums, on the host in float64."""
        raise NotImplementedError

    def check_targets(self, t: HostArray, output_shape: Shape, loss: Loss) -> None:
        """Raise InputError unless the metric means something for such data; by default it does.

        Called before training, and for each batch of an iterable.

        Parameters
        ----------
        t : array (rows, ...)
            Targets on the host that suit the loss; of several outputs a dict or tuple.
        output_shape : tuple of int
            The shape of one output; of several outputs a dict or tuple of shapes.
        loss : Loss
            The loss with which the metric is computed.
        """


@dataclass(frozen=True)
class Accuracy(Metric):
    """The fraction of positions whose largest output is that of the target class.

    For outputs (batch, ..., classes) targets are classes (batch, ...), or probabilities of the
    outputs' shape that sum to 1, of which the largest is the target class. For one or several
    binary outputs use `BinaryAccuracy`. With sample weights it is the fraction of the weight. It is
    NaN if an output of a position that counts is NaN.

    Parameters
    ----------
    ignore_index : int, optional
        A target to ignore, as in `CrossEntropy`. If all are ignored, the accuracy is NaN.

    Raises
    ------
    InputError
        If `ignore_index` is not a whole number; in training, for one output, or other targets.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.Identity(), input_shape=(2,), device="cpu")
    >>> x, t = [[3.0, 1.0], [0.0, 2.0]], [0, 0]
    >>> bp.evaluate(model, x, t, loss=bp.CrossEntropy(), metrics=[bp.Accuracy()])["accuracy"]
    0.5
    """

    ignore_index: int | None = None

    def __post_init__(self) -> None:
        if self.ignore_index is not None:
            check_integer(self, "ignore_index")

    @property
    def name(self) -> str:
        return "accuracy"

    def check_targets(self, t: HostArray, output_shape: Shape, loss: Loss) -> None:
        _check_one_output(self, output_shape, loss)
        shape, classes = (len(t), *output_shape), (output_shape or (1,))[-1]
        if classes < 2:
            raise InputError(
                "Accuracy: expected one output for each of two classes or more, got one output, "
                "which is always the largest; use BinaryAccuracy()"
            )
        if loss.target_classes(shape) is None:
            raise InputError(
                "Accuracy: expected outputs that are one per class, got the vectors of "
                f"{type(loss).__name__}"
            )
        if t.shape not in (shape, shape[:-1]):
            raise InputError(
                f"Accuracy: expected classes {shape[:-1]} or probabilities {shape}, got targets "
                f"{t.shape}"
            )
        if t.ndim == len(shape):
            index = first_outside(t, 0.0, 1.0)
            index = first_bad_sum(t) if index is None else index[:-1]
            if index is not None:
                raise InputError(
                    f"Accuracy, {describe_location('t', index)}: expected classes, or "
                    f"probabilities from 0 to 1 that sum to 1, got {t[index].tolist()!s:.60}; use "
                    "BinaryAccuracy() for several labels per sample, R2() for values"
                )
            return
        index = first_bad_index(t, None, classes, counted=self._counted)
        if index is not None:
            value = np.asarray(t[index])
            counted, advice = loss.counted(value), ""
            if counted is not None and not counted:
                advice = f"; to ignore it as the loss does use Accuracy(ignore_index={int(value)})"
            raise InputError(
                f"Accuracy, {describe_location('t', index)}: expected classes 0 to {classes - 1}, "
                f"got {value}{advice}"
            )

    def _counted(self, t: HostArray) -> HostArray | None:
        return None if self.ignore_index is None else np.asarray(t != self.ignore_index)

    def sums(
        self, y: Array, t: Array, ctx: Context, weight: Array | None = None
    ) -> tuple[Any, ...]:
        xp = ctx.xp
        predicted = xp.argmax(y, axis=-1)
        target = t if t.ndim < y.ndim else xp.argmax(t, axis=-1)
        correct = predicted == xp.astype(target, predicted.dtype)
        is_nan = xp.isnan(xp.max(y, axis=-1))
        if self.ignore_index is None or t.ndim == y.ndim:
            return _fraction(correct, is_nan, None, ctx, y, weight)
        return _fraction(correct, is_nan, t != self.ignore_index, ctx, y, weight)

    def value(self, sums: tuple[Any, ...]) -> float:
        return float(sums[0] / sums[1]) if sums[1] else math.nan


@dataclass(frozen=True)
class BinaryAccuracy(Metric):
    """The fraction of binary outputs on the same side of the threshold as the target.

    With sample weights, the fraction of the weight. It is NaN if an output of a sample that counts
    is NaN.

    Parameters
    ----------
    threshold : float, default 0.0
        The threshold of outputs: 0 for logits, 0.5 for probabilities. That of targets, which lie
        in [0, 1], is 0.5.

    Raises
    ------
    InputError
        If the threshold is not a finite number; in training, for other targets, outputs that are
        one per class, or a threshold outside (0, 1) with a loss that compares outputs with 0 and 1.
    """

    threshold: float = 0.0
    ignore_nan: bool = False

    def __post_init__(self) -> None:
        check_number(self, "threshold")
        check_bool(self, "ignore_nan")

    @property
    def name(self) -> str:
        return "accuracy"

    def check_targets(self, t: HostArray, output_shape: Shape, loss: Loss) -> None:
        _check_one_output(self, output_shape, loss)
        one_of_several = loss.takes_classes or loss.targets_sum_to_one
        if not one_of_several:
            _check_same_shape(self, t, output_shape, loss)
        if one_of_several or t.shape != (len(t), *output_shape):
            raise InputError(
                f"BinaryAccuracy: expected targets 0 and 1 for each output, got the classes of "
                f"{type(loss).__name__}; use Accuracy()"
            )
        index = first_outside(t, 0.0, 1.0)
        if index is not None:
            raise InputError(
                f"BinaryAccuracy, {describe_location('t', index)}: expected a target from 0 to 1, "
                f"got {t[index]}; code two classes as 0 and 1, or use R2() for values"
            )
        if not self.ignore_nan:
            _refuse_nan(t, "BinaryAccuracy", "use BinaryAccuracy(ignore_nan=True)")
        if loss.output_kind == "values" and not 0.0 < self.threshold < 1.0:
            raise argument_error(
                "BinaryAccuracy",
                "threshold",
                self.threshold,
                f"a number between 0 and 1, as {type(loss).__name__} compares outputs with 0 and 1",
                "use BinaryAccuracy(0.5)",
            )

    def sums(
        self, y: Array, t: Array, ctx: Context, weight: Array | None = None
    ) -> tuple[Any, ...]:
        correct = (y > self.threshold) == (t > 0.5)
        counted = t == t if self.ignore_nan else None  # NaN is not equal to itself
        return _fraction(correct, ctx.xp.isnan(y), counted, ctx, y, weight)

    def value(self, sums: tuple[Any, ...]) -> float:
        return float(sums[0] / sums[1]) if sums[1] else math.nan


@dataclass(frozen=True)
class R2(Metric):
    """The coefficient of determination 1 − Σ(t − y)² / Σ(t − mean t)², the mean over outputs.

    1 is a perfect fit; 0 is as good as the mean of the targets. For targets that are all equal it
    is 1 if the outputs are equal to them, else 0, as in scikit-learn. For outputs
    (batch, ..., outputs) every position counts like a sample. Sample weights weigh both sums and
    the mean.

    Raises
    ------
    InputError
        In training, for targets that are classes, and with a loss of logits.
    """

    @property
    def name(self) -> str:
        return "r2"

    def check_targets(self, t: HostArray, output_shape: Shape, loss: Loss) -> None:
        _check_one_output(self, output_shape, loss)
        if loss.output_kind in (None, "values") and not loss.takes_classes:
            _check_same_shape(self, t, output_shape, loss)
        if loss.output_kind in ("logits", "logarithms") or t.shape != (len(t), *output_shape):
            advice = ""
            if loss.output_kind == "logits":
                one_of_several = loss.takes_classes or loss.targets_sum_to_one
                advice = "; use Accuracy()" if one_of_several else "; use BinaryAccuracy()"
            raise InputError(
                "R2: expected outputs and targets that are values, such as those of "
                f"MeanSquaredError, got {type(loss).__name__}{advice}"
            )
        _refuse_nan(t, "R2", "measure it on rows without such targets")

    def sums(
        self, y: Array, t: Array, ctx: Context, weight: Array | None = None
    ) -> tuple[Any, ...]:
        """Return n, the mean of the targets in two parts, and the sums of squares of a batch.

        The mean is the first target that counts and the mean distance from it, whose squares do
        not cancel as those of numbers far from 0 do; of equal targets the distance is 0 exactly.
        """
        xp, rows, dtype = ctx.xp, math.prod(t.shape[:-1]), ctx.sum_dtype_of(y)
        n: Any = float(rows)
        column = None
        if weight is not None:
            column = xp.broadcast_to(_column(weight, t.ndim, dtype, xp), (*t.shape[:-1], 1))
            column = xp.reshape(column, (rows, 1))
            n = xp.sum(column)

        def total(values: Array) -> Array:
            return xp.sum(values if column is None else column * values, axis=0)

        y, t = (xp.reshape(xp.astype(each, dtype), (rows, each.shape[-1])) for each in (y, t))
        origin = 1.0 * t[0, ...]  # a copy: a recorded step returns no view of its arguments
        if column is not None:
            counted = column > 0.0
            first = xp.argmax(xp.astype(counted, dtype), axis=0)
            origin = xp.take(t, first, axis=0)[0, ...]
            # what does not count may be of any size, and 0 · inf would be NaN
            y, t = (xp.where(counted, each, origin) for each in (y, t))
        distance = t - origin
        mean = total(distance) / _divisor(n, xp)
        centered = distance - mean
        residual = t - y
        return (
            n,
            origin,
            mean,
            total(centered * centered),
            total(residual * residual),
        )

    def merge(
        self, total: tuple[Any, ...], sums: tuple[Any, ...], xp: Namespace
    ) -> tuple[Any, ...]:
        """Merge means and squares about them: Chan, Golub, LeVeque, 1979, equation 2.1."""
        n, origin, mean, squares, residual = total
        rows, first, distance, more_squares, more_residual = sums
        if type(n) is not float:  # 0 if no sample counted so far
            origin = xp.where(n > 0.0, origin, first)
        fraction = rows / _divisor(n + rows, xp)
        shift = (first - origin) + (distance - mean)
        return (
            n + rows,
            origin,
            mean + shift * fraction,
            squares + more_squares + shift * shift * (n * fraction),
            residual + more_residual,
        )

    def value(self, sums: tuple[Any, ...]) -> float:
        n, _, _, squares, residual = sums
        if not n:
            return math.nan
        scores = [
            1.0 - r / s if s > 0.0 else float(r == 0.0)
            for r, s in zip(residual.tolist(), squares.tolist(), strict=True)
        ]
        return sum(scores) / len(scores)


def _refuse_nan(t: HostArray, metric: str, advice: str) -> None:
    """Raise InputError for a target that is NaN, which the loss ignores but the metric does not."""
    index = first_index(t, lambda values: values != values)
    if index is not None:
        where = describe_location("t", index)
        raise InputError(f"{metric}, {where}: expected a number, got NaN; {advice}")


def _fraction(
    correct: Array,
    is_nan: Array,
    counted: Array | None,
    ctx: Context,
    y: Array,
    weight: Array | None,
) -> tuple[Any, ...]:
    """Return the weight of what is correct, and of all that counts.

    The first is NaN if an output that counts is: argmax and the threshold would make a class of it.
    """
    xp, dtype = ctx.xp, ctx.sum_dtype_of(y)
    right = xp.where(xp.logical_not(is_nan), xp.astype(correct, dtype), math.nan)
    if weight is None and counted is None:
        return xp.sum(right), float(math.prod(correct.shape))
    if weight is None:
        total = xp.astype(counted, dtype)
    else:
        total = xp.broadcast_to(_column(weight, correct.ndim, dtype, xp), correct.shape)
        if counted is not None:
            total = total * xp.astype(counted, dtype)
    # where, as 0 · NaN would be NaN
    return xp.sum(xp.where(total > 0.0, total * right, 0.0)), xp.sum(total)


def _column(weight: Array, ndim: int, dtype: Any, xp: Namespace) -> Array:
    """Return weights with as many axes as the array that they weigh."""
    return xp.reshape(xp.astype(weight, dtype), weight.shape + (1,) * (ndim - weight.ndim))


def _divisor(n: Any, xp: Namespace) -> Any:
    """Return a sum of weights to divide by: 1 for a batch of weight 0, not 0 / 0."""
    return n if type(n) is float else xp.where(n > 0.0, n, 1.0)


@dataclass(frozen=True)
class OutputMetric(Metric):
    """A metric of one of several outputs, recorded as "kind_accuracy".

    Parameters
    ----------
    output : str or int
        The name of an output with a loss in `CombinedLoss`, or its position in a tuple.
    metric : Metric
        A metric of one output.

    Raises
    ------
    InputError
        For another kind of argument; in training, for an unknown output, one without a loss, or
        targets that the metric refuses.

    Examples
    --------
    >>> import numpy as np
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.Parallel(kind=bp.Linear(2), size=bp.Linear(1)), 3, device="cpu")
    >>> loss = bp.CombinedLoss({"kind": bp.CrossEntropy(), "size": bp.Huber()})
    >>> x, t = np.ones((4, 3)), {"kind": np.zeros(4, int), "size": np.ones(4)}
    >>> metric = bp.OutputMetric("kind", bp.Accuracy())
    >>> list(bp.evaluate(model, x, t, loss=loss, metrics=[metric]))
    ['loss', 'kind_accuracy', 'kind_loss', 'size_loss']
    """

    output: str | int
    metric: Metric

    def __post_init__(self) -> None:
        if not isinstance(self.output, (str, int)) or isinstance(self.output, bool):
            raise argument_error("OutputMetric", "output", self.output, "a name or a position")
        check_kind(self, "metric", Metric, "a metric such as Accuracy()")

    @property
    def name(self) -> str:
        return f"{self.output}_{self.metric.name}"

    def check_targets(self, t: Any, output_shape: Any, loss: Loss) -> None:
        losses: dict[Any, Loss] = dict(loss.items()) if isinstance(loss, CombinedLoss) else {}
        key: Any = self.output
        if key not in losses:
            known = ", ".join(map(repr, losses)) or "one output"
            raise InputError(f"OutputMetric({key!r}): expected an output with a loss, got {known}")
        try:
            self.metric.check_targets(t[key], output_shape[key], losses[key])
        except InputError as error:
            raise type(error)(f"output {key!r}: {error}") from None

    def sums(self, y: Any, t: Any, ctx: Context, weight: Array | None = None) -> tuple[Any, ...]:
        options = {} if weight is None else {"weight": weight}
        return self.metric.sums(y[self.output], t[self.output], ctx, **options)

    def merge(
        self, total: tuple[Any, ...], sums: tuple[Any, ...], xp: Namespace
    ) -> tuple[Any, ...]:
        return self.metric.merge(total, sums, xp)

    def value(self, sums: tuple[Any, ...]) -> float:
        return self.metric.value(sums)


@dataclass(frozen=True)
class PartLoss(Metric):
    """The loss of one of several outputs, recorded as "size_loss": exact over batches.

    Parameters
    ----------
    output : str or int
    loss : Loss
    """

    output: str | int
    loss: Loss

    @property
    def name(self) -> str:
        return f"{self.output}_loss"

    def sums(self, y: Any, t: Any, ctx: Context, weight: Array | None = None) -> tuple[Any, ...]:
        y, t = y[self.output], t[self.output]
        value, _ = self.loss.forward(y, t, ctx, weight)
        if self.loss.reduction != "mean":
            return value, 1.0
        total = self.loss.total_weight(t, y, ctx, weight)
        return value * total, total

    def value(self, sums: tuple[Any, ...]) -> float:
        if self.loss.reduction != "mean":
            return float(sums[0])
        return float(sums[0] / sums[1]) if sums[1] else math.nan


def with_part_losses(metrics: Sequence[Metric], loss: Loss) -> tuple[Metric, ...]:
    """Return the metrics, and the loss of each output if there are several.

    Raises
    ------
    InputError
        Unless these are metrics with names of their own, as of `check_metrics`.
    """
    check_metrics(metrics)
    if not isinstance(loss, CombinedLoss):
        return tuple(metrics)
    every = (*metrics, *(PartLoss(key, part) for key, part in loss.items()))
    check_metrics(every)
    return every


def _check_one_output(metric: Metric, output_shape: Any, loss: Loss) -> None:
    """Raise InputError if a metric of one output is to measure several, or those of members."""
    if isinstance(loss, EnsembleLoss):
        kind = type(metric).__name__
        raise InputError(
            f"{kind}: expected one output, got those of the members of an ensemble; write "
            f"EnsembleMetric({kind}())"
        )
    if not is_shape(output_shape):
        kind = type(metric).__name__
        keys = output_shape if isinstance(output_shape, dict) else range(len(output_shape))
        raise InputError(
            f"{kind}: expected one output, got {described_tree(output_shape)}; write "
            f"OutputMetric({next(iter(keys))!r}, {kind}())"
        )


def _check_same_shape(metric: Metric, t: HostArray, output_shape: Shape, loss: Loss) -> None:
    """Raise InputError if a loss has targets of another shape than the outputs."""
    expected = (len(t), *output_shape)
    if t.shape != expected and loss.target_shape(expected) != expected:
        kind = type(metric).__name__
        raise InputError(
            f"{kind}: expected targets of the shape of the outputs, {expected}, got {t.shape}, as"
            f" {type(loss).__name__} has; measure a part of the outputs with a Metric of your own"
        )


RECORDED = ("loss", "learning_rate", "skipped_steps", "seconds")
"""The series of every history."""


def check_metrics(metrics: Any) -> None:
    """Raise InputError unless these are metrics with names of their own.

    Two of one name, or one of a series that `fit` records, would be one series of the history.
    """
    listed = isinstance(metrics, Sequence) and not isinstance(metrics, str)
    if not listed or not all(isinstance(metric, Metric) for metric in metrics):
        raise InputError(
            f"metrics: expected a list of metrics such as [Accuracy()], got {metrics!r:.80}"
        )
    names = [metric.name for metric in metrics]
    for name in names:
        if not isinstance(name, str) or not name or name in RECORDED or name.startswith("val_"):
            raise InputError(
                f"metrics: expected names other than {', '.join(RECORDED)} and val_..., got "
                f"{name!r:.60}; give the metric another name"
            )
        if names.count(name) > 1:
            raise InputError(
                f"metrics: expected different names, got {name!r} twice; measure one of the two "
                "with evaluate, or give a subclass another name"
            )

"""`EnsembleMetric`: a metric of the mean over the members of an ensemble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bp_arrays.checks import argument_error, check_kind
from bp_arrays.errors import InputError
from bp_arrays.layers import Context, Layer
from bp_arrays.losses import EnsembleLoss, Loss
from bp_arrays.model import mean_over_members
from bp_arrays.training._metrics import Metric
from bp_arrays.typing import Array, HostArray, Namespace, Shape


@dataclass(frozen=True)
class EnsembleMetric(Metric):
    """A metric of the prediction of an ensemble, the mean over its members, for `EnsembleLoss`.

    Parameters
    ----------
    metric : Metric
        A metric of one output, which sees the mean as if it was the output of one net.
    activation : Layer, optional
        A layer without parameters that is applied to the outputs of each member before they are
        averaged, as in `Model.predict`: `Softmax()` averages probabilities instead of logits.

    Raises
    ------
    InputError
        For another kind of argument; in training, without `EnsembleLoss`, or for targets that the
        metric refuses.

    Notes
    -----
    With an activation the metric sees its values: write `EnsembleMetric(BinaryAccuracy(0.5),
    Sigmoid())`. Weights of each member count with their mean.

    Examples
    --------
    >>> import numpy as np
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.Ensemble(bp.Linear(3), 5), 2, device="cpu", seed=0)
    >>> metric = bp.EnsembleMetric(bp.Accuracy(), bp.Softmax())
    >>> x, t = np.ones((4, 2)), np.zeros(4, int)
    >>> list(bp.evaluate(model, x, t, loss=bp.EnsembleLoss(bp.CrossEntropy()), metrics=[metric]))
    ['loss', 'accuracy']
    """

    metric: Metric
    activation: Layer | None = None

    def __post_init__(self) -> None:
        check_kind(self, "metric", Metric, "a metric such as Accuracy()")
        if self.activation is not None:
            check_kind(self, "activation", Layer, "a layer such as Softmax()")

    @property
    def name(self) -> str:
        return self.metric.name

    def check_targets(self, t: HostArray, output_shape: Shape, loss: Loss) -> None:
        if not isinstance(loss, EnsembleLoss):
            raise InputError(
                f"EnsembleMetric: expected an EnsembleLoss, got {type(loss).__name__}; for a net "
                f"that is no Ensemble use {type(self.metric).__name__}() itself"
            )
        of_member = output_shape[1:]
        if self.activation is not None and self.activation.init(of_member)[0]:
            expected = "a layer without parameters such as Softmax()"
            raise argument_error("EnsembleMetric", "activation", self.activation, expected)
        self.metric.check_targets(t, of_member, loss.loss)

    def sums(
        self, y: Array, t: Array, ctx: Context, weight: Array | None = None
    ) -> tuple[Any, ...]:
        if self.activation is not None:
            y, _ = self.activation.forward({}, y, ctx)
        if weight is None:
            return self.metric.sums(mean_over_members(y, ctx.xp), t, ctx)
        # (batch, members), and not the weights of the positions of a sequence
        if weight.ndim == 2 and y.ndim == 3:
            weight = ctx.xp.mean(weight, axis=1)
        return self.metric.sums(mean_over_members(y, ctx.xp), t, ctx, weight=weight)

    def merge(
        self, total: tuple[Any, ...], sums: tuple[Any, ...], xp: Namespace
    ) -> tuple[Any, ...]:
        return self.metric.merge(total, sums, xp)

    def value(self, sums: tuple[Any, ...]) -> float:
        return self.metric.value(sums)

"""`TargetUnits`: training on standardized targets, results in the units of the user.

The loss of targets of 1e-5 has gradients that Adam's ε outweighs, and with targets of 1e3 gradient
descent diverges. So the network learns (t − mean) / scale, each output in its own unit, and a
Standardize layer that turns its outputs back is added when it is trained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bp_arrays.command_line._standardizing import ColumnStatistics
from bp_arrays.layers import Context, Sequential, Standardize
from bp_arrays.losses import Huber, L2Loss, Loss, MeanAbsoluteError
from bp_arrays.model import Model
from bp_arrays.training import R2, History, Metric
from bp_arrays.typing import Array, HostArray

SERIES = "loss_in_units"
"""The series of the history that becomes its "loss"."""


@dataclass(frozen=True)
class LossInUnits(Metric):
    """The loss in the units of the targets, from standardized outputs and targets.

    Parameters
    ----------
    loss : Loss
        A loss of the differences y − t.
    scales : tuple of float
        The standard deviation of each output.
    """

    loss: Loss
    scales: tuple[float, ...]

    @property
    def name(self) -> str:
        return SERIES

    def sums(
        self, y: Array, t: Array, ctx: Context, weight: Array | None = None
    ) -> tuple[Any, ...]:
        xp, single, dtype = ctx.xp, (math.prod(y.shape), 1), ctx.sum_dtype_of(y)
        column_y, column_t = (xp.reshape(xp.astype(each, dtype), single) for each in (y, t))
        losses, _ = self.loss.per_sample(column_y, column_t, ctx)
        losses = xp.reshape(losses, y.shape)
        if weight is None:
            return float(y.shape[0]), xp.sum(losses, axis=0)
        weight = xp.astype(weight, dtype)
        return xp.sum(weight), xp.sum(xp.reshape(weight, (-1, 1)) * losses, axis=0)

    def value(self, sums: tuple[Any, ...]) -> float:
        # a loss of differences grows with the unit, or with its square; Huber's too, as its
        # threshold counts in standard deviations
        power = 1 if isinstance(self.loss, MeanAbsoluteError) else 2
        with np.errstate(over="ignore", under="ignore"):
            losses = sums[1] / sums[0] * np.asarray(self.scales) ** power
        return float(losses.sum() if isinstance(self.loss, L2Loss) else losses.mean())


@dataclass(frozen=True, eq=False)
class TargetUnits:
    """The units of targets (rows, outputs).

    Parameters
    ----------
    columns : ColumnStatistics
        Mean and standard deviation of each output, on the training rows.
    loss : Loss
        The loss of the standardized targets.
    """

    columns: ColumnStatistics
    loss: Loss

    def standardized(self, t: HostArray) -> HostArray:
        """Return the targets (rows, outputs) as the network learns them, in float64."""
        return (t - self.columns.mean) / self.columns.scale

    def in_units(self, t: HostArray) -> HostArray:
        """Return standardized targets in the user's units."""
        return t * self.columns.scale + self.columns.mean

    @property
    def metric(self) -> Metric:
        """The loss in the user's units, measured beside the one that is minimized."""
        return LossInUnits(self.loss, tuple(self.columns.scale.tolist()))

    @property
    def user_loss(self) -> Loss | None:
        """The loss for outputs in the user's units; None for Huber's loss if the outputs have
        different scales."""
        if not isinstance(self.loss, Huber):
            return self.loss
        scale, *others = set(self.columns.scale.tolist())
        return None if others else replace(self.loss, threshold=self.loss.threshold * scale)

    def values_in_units(self, values: dict[str, float]) -> dict[str, float]:
        """Return measured values with the loss in the user's units."""
        renamed = {}
        for name, value in values.items():
            if name.endswith(SERIES):
                renamed[name.removesuffix(SERIES) + "loss"] = value
            else:
                renamed.setdefault(name, value)
        return renamed

    def history_in_units(self, history: History) -> History:
        """Return a history with its losses in the user's units."""
        converted = History()
        for epoch in range(history.epochs):
            converted.record(
                self.values_in_units({k: series[epoch] for k, series in history.items()})
            )
        converted.stopped = history.stopped
        converted.compiled_by, converted.not_compiled = history.compiled_by, history.not_compiled
        return converted

    def model_in_units(self, model: Model) -> Model:
        """Return a trained model with a last layer that gives outputs in the user's units.

        (y − m) / d = y s + μ for m = −μ / s and d = 1 / s.
        """
        assert isinstance(model.net, Sequential)
        net = Sequential(*model.net.layers, Standardize())
        mean, scale = self.columns.mean, self.columns.scale
        name = str(len(model.net.layers))
        parameters = model.host_parameters()
        parameters |= {f"{name}.mean": -mean / scale, f"{name}.scale": 1.0 / scale}
        complete = Model.from_values(
            net,
            model.inputs,
            lambda entry: parameters[entry.name],
            device=model.device,
            dtype=model.dtype,
            compute_dtype=model.compute_dtype,
        )
        complete.metadata, complete.seed = model.metadata, model.seed
        return complete


def errors_of(y: HostArray, t: HostArray) -> dict[str, float]:
    """Return the root mean squared and the mean absolute error of values (rows, outputs)."""
    with np.errstate(over="ignore", under="ignore"):
        difference = y.astype(np.float64) - t
        rmse = float(np.sqrt(np.mean(np.square(difference))))
        return {"rmse": rmse, "mae": float(np.mean(np.abs(difference)))}


def value_scores(
    y: HostArray, t: HostArray, loss: Loss, units: TargetUnits | None
) -> dict[str, float]:
    """Return loss and R² of the outputs of a model that is ready to be saved, in their units.

    The outputs are compared with the targets in float64: in the dtype of the model, targets and
    outputs far from 0 would be rounded to the same numbers.

    Parameters
    ----------
    y : array (rows, outputs)
        In the user's units.
    t : array (rows, outputs)
        Standardized if there are units.
    loss : Loss
        The loss of t.
    units : TargetUnits, or None
    """
    y, ctx, r2 = y.astype(np.float64), Context(np), R2()
    if units is None:
        return {"loss": float(loss.forward(y, t, ctx)[0]), "r2": r2.value(r2.sums(y, t, ctx))}
    y = units.standardized(y)
    error = units.metric.value(units.metric.sums(y, t, ctx))
    return {"loss": error, "r2": r2.value(r2.sums(y, t, ctx))}

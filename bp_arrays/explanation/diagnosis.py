"""How healthy a training is: what each layer's values and errors look like, epoch by epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bp_arrays.activations import ReLU, Sigmoid, Tanh
from bp_arrays.errors import InputError
from bp_arrays.explanation.health import LayerHealth
from bp_arrays.explanation.health_plot import plot
from bp_arrays.layers import Layer, Sequential
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.model.doors import to_device
from bp_arrays.model.targets import prepare_targets
from bp_arrays.training import Callback
from bp_arrays.training.callbacks import Run
from bp_arrays.typing import Array, ParameterTree

FLAT = 0.02
"""A slope of this share of the steepest counts as flat: the sigmoid's beyond |a| = 5.3."""

MANY = 0.5
"""The share of saturated values, or of dead units, that is worth a word."""

VANISHED, EXPLODED = 1e-3, 1e3
"""δ in the first layer in units of that in the last."""


class Diagnosis(Callback):
    """Looks at some samples after every epoch, and says in words what is wrong, if anything.

    Parameters
    ----------
    x : array (samples, *input_shape)
        A hundred samples say enough.
    t : array
        Their targets.
    loss : Loss

    Raises
    ------
    InputError
        When the training starts, for samples that do not suit the model.

    Examples
    --------
    >>> import numpy as np
    >>> import bp_arrays as bp
    >>> from bp_arrays.explanation import Diagnosis
    >>> x, t = np.ones((4, 2)), np.zeros((4, 1))
    >>> diagnosis = Diagnosis(x, t, bp.L2Loss())
    >>> net = bp.Sequential(bp.Linear(3), bp.Sigmoid(), bp.Linear(1))
    >>> history = bp.fit(bp.Model(net, 2, device="cpu"), x, t, loss=bp.L2Loss(),
    ...                  optimizer=bp.SGD(0.1), callbacks=[diagnosis])
    >>> diagnosis.findings()
    []
    """

    def __init__(self, x: Any, t: Any, loss: Loss) -> None:
        if not isinstance(loss, Loss):
            raise InputError(f"Diagnosis(loss): expected a loss such as L2Loss(), got {loss!r}")
        self.x, self.t, self.loss = x, t, loss
        self.layers: list[LayerHealth] = []

    def on_start(self, run: Run) -> None:
        self.layers = []
        self._look(run.model, 0)

    def on_epoch_end(self, run: Run) -> None:
        self._look(run.model, run.history.epochs)

    @property
    def last(self) -> list[LayerHealth]:
        """The layers after the last epoch."""
        return [h for h in self.layers if h.epoch == self.layers[-1].epoch] if self.layers else []

    def findings(self) -> list[str]:
        """What is wrong after the last epoch, in words; nothing if nothing is."""
        found = []
        for h in self.last:
            where = f"layer {h.path} ({h.kind})"
            if h.saturated > MANY:
                found.append(
                    f"{where} is saturated: {h.saturated:.0%} of its values lie where its slope "
                    "is nearly 0, so hardly any error passes. Inputs on a common scale, smaller "
                    "first weights, or ReLU in its place help"
                )
            if h.dead > MANY:
                found.append(
                    f"{where} is dying: {h.dead:.0%} of its units give 0 for every sample and "
                    "can never learn again. A smaller learning rate, or LeakyReLU, helps"
                )
        errors = [h.error for h in self.last if not np.isnan(h.gradient)]
        if len(errors) > 1 and errors[-1] > 0.0:
            ratio = errors[0] / errors[-1]
            if ratio < VANISHED:
                found.append(
                    f"the error vanishes: in the first layer it is {ratio:.0e} of what it is in "
                    "the last, so the first layers hardly learn. ReLU or GELU, HeNormal weights, "
                    "or Residual blocks help"
                )
            if ratio > EXPLODED:
                found.append(
                    f"the error explodes: in the first layer it is {ratio:.0e} times what it is "
                    "in the last. Smaller first weights, ClipByGlobalNorm, or Residual blocks help"
                )
        return found

    def table(self) -> str:
        """The layers after the last epoch, as a table."""
        header = ("layer", "mean", "deviation", "saturated", "dead", "error δ", "gradient")
        rows = [
            (
                f"{h.path} {h.kind}",
                f"{h.mean:.3g}",
                f"{h.deviation:.3g}",
                _share(h.saturated),
                _share(h.dead),
                f"{h.error:.2e}",
                "" if np.isnan(h.gradient) else f"{h.gradient:.2e}",
            )
            for h in self.last
        ]
        widths = [max(len(row[k]) for row in (header, *rows)) for k in range(len(header))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if k == 0 else cell.rjust(width)
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (header, *rows)
        )

    def plot(self, path: str | Path | None = None) -> Any:
        """Error, spread, and saturation of each layer over the epochs; needs the extra `plot`.

        Parameters
        ----------
        path : path, optional
            Where to write the picture.

        Returns
        -------
        matplotlib Figure
        """
        figure = plot(self.layers)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    def __str__(self) -> str:
        findings = self.findings() or ["nothing to worry about"]
        return "\n".join([self.table(), "", *findings])

    def _look(self, model: Model, epoch: int) -> None:
        device = model.device
        with device.activate():
            x = to_device(self.x, device, model.dtype, model.input_shape, "Diagnosis(x)")
            t = prepare_targets(
                self.t, x.shape[0], self.loss, model.output_shape, device, model.dtype
            )
            context = model.context(training=False, needs_input_gradient=True)
            passes: list[tuple[str, Layer, Array, Any]] = []
            y = _through(model.net, "", model.tree(), x, context, passes)
            delta = self.loss.forward(y, t, context)[1]()
            found = []
            for path, layer, output, backward in reversed(passes):
                before, gradients = backward(delta)
                host = device.to_numpy
                found.append(
                    _health(epoch, path, layer, host(output), host(delta), _leaves(gradients, host))
                )
                delta = before
        self.layers += reversed(found)


def _through(
    layer: Layer,
    path: str,
    params: ParameterTree,
    x: Array,
    context: Any,
    passes: list[tuple[str, Layer, Array, Any]],
) -> Array:
    if isinstance(layer, Sequential):
        for k, part in enumerate(layer):
            name = f"{path}.{k}" if path else str(k)
            x = _through(part, name, params.get(str(k), {}), x, context, passes)
        return x
    y, backward = layer.forward(params, x, context)
    passes.append((path or "net", layer, y, backward))
    return y


def _leaves(gradients: ParameterTree, host: Any) -> list[Any]:
    found: list[Any] = []
    for value in gradients.values():
        found += _leaves(value, host) if isinstance(value, dict) else [np.ravel(host(value))]
    return found


def _health(
    epoch: int, path: str, layer: Layer, y: Any, delta: Any, gradients: list[Any]
) -> LayerHealth:
    y, delta = y.astype(np.float64), delta.astype(np.float64)
    return LayerHealth(
        epoch=epoch,
        path=path,
        kind=type(layer).__name__,
        mean=float(y.mean()),
        deviation=float(y.std()),
        saturated=_saturated(layer, y),
        dead=float((y == 0.0).all(axis=0).mean()) if isinstance(layer, ReLU) else float("nan"),
        error=_size(delta),
        gradient=_size(np.concatenate(gradients)) if gradients else float("nan"),
    )


def _saturated(layer: Layer, h: Any) -> float:
    """The share of outputs at which a sigmoid or tanh is flat, its slope known from its output."""
    if isinstance(layer, Sigmoid):
        return float((h * (1.0 - h) < FLAT * 0.25).mean())
    if isinstance(layer, Tanh):
        return float((1.0 - h * h < FLAT).mean())
    return float("nan")


def _size(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values.astype(np.float64)))))


def _share(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.0%}"

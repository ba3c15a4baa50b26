"""What is measured of each layer to tell how healthy a net is: on its way forward and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.activations import ReLU, Sigmoid, Tanh
from bp_arrays.layers import Context, Layer, Residual, Sequential
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.typing import Array, Backward, ParameterTree

FLAT = 0.02
"""A slope of this share of the steepest counts as flat: the sigmoid's beyond |a| = 5.3."""

RIGHT = 0.5
"""An output that is flat but nearer to its target than this is not stuck: it has arrived."""


@dataclass(frozen=True)
class LayerHealth:
    """One layer after one epoch, on the probed samples.

    Parameters
    ----------
    epoch : int
    path, kind : str
        The layer's place in the net and its class.
    mean, deviation : float
        Of its outputs.
    saturated : float
        The share of outputs at which its slope is nearly 0; of the net's own outputs those that
        are wrong besides. NaN for layers that do not saturate.
    dead : float
        The share of units that give 0 for every sample; NaN for other layers than ReLU.
    error : float
        The root mean square of δ = ∂L/∂(output).
    gradient : float
        The root mean square of the gradients of its parameters; NaN without parameters.
    """

    epoch: int
    path: str
    kind: str
    mean: float
    deviation: float
    saturated: float
    dead: float
    error: float
    gradient: float


def health_of(model: Model, x: Array, t: Array, loss: Loss, epoch: int) -> list[LayerHealth]:
    """Every layer of the model on a batch, from the input to the output, inside blocks too."""
    watch = _Watch(model, epoch)
    y, backward = watch.forward(model.net, "", model.tree(), x)
    delta = loss.forward(y, t, watch.context)[1]()
    if t.shape == y.shape:
        watch.settled = np.abs(watch.host(y) - watch.host(t)) < RIGHT
    backward(delta)
    return watch.found[::-1]


class _Watch:
    """A forward pass that looks at each layer as the error comes back through it."""

    def __init__(self, model: Model, epoch: int) -> None:
        self.context: Context = model.context(training=False, needs_input_gradient=True)
        self.host, self.epoch = model.device.to_numpy, epoch
        self.settled: Any = False
        self.found: list[LayerHealth] = []

    def forward(
        self, layer: Layer, path: str, params: ParameterTree, x: Array
    ) -> tuple[Array, Backward]:
        if isinstance(layer, Sequential):
            backwards = []
            for k, part in enumerate(layer):
                inner = f"{path}.{k}" if path else str(k)
                x, backward = self.forward(part, inner, params.get(str(k), {}), x)
                backwards.append(backward)

            def through_all(delta: Array) -> tuple[Array, ParameterTree]:
                for backward in reversed(backwards):
                    delta, _ = backward(delta)
                return delta, {}

            return x, through_all
        if isinstance(layer, Residual):
            y, body = self.forward(layer.body, path, params, x)
            return x + y, lambda delta: (delta + body(delta)[0], {})
        y, own = layer.forward(params, x, self.context)

        def looked_at(delta: Array) -> tuple[Array, ParameterTree]:
            before, gradients = own(delta)
            self._look(path or "net", layer, self.host(y), self.host(delta), gradients)
            return before, {}

        return y, looked_at

    def _look(self, path: str, layer: Layer, y: Any, delta: Any, gradients: ParameterTree) -> None:
        y, last = y.astype(np.float64), not self.found
        flat = _flat(layer, y)
        values = [np.ravel(self.host(g)) for g in _leaves(gradients)]
        self.found.append(
            LayerHealth(
                epoch=self.epoch,
                path=path,
                kind=type(layer).__name__,
                mean=float(y.mean()),
                deviation=float(y.std()),
                saturated=_share(flat & ~self.settled if last and flat is not None else flat),
                dead=_share((y == 0.0).all(axis=0) if isinstance(layer, ReLU) else None),
                error=_size(delta),
                gradient=_size(np.concatenate(values)) if values else float("nan"),
            )
        )


def _flat(layer: Layer, h: Any) -> Any:
    """Where a sigmoid or tanh is flat, its slope known from its output; None for other layers."""
    if isinstance(layer, Sigmoid):
        return h * (1.0 - h) < FLAT * 0.25
    if isinstance(layer, Tanh):
        return 1.0 - h * h < FLAT
    return None


def _leaves(gradients: ParameterTree) -> list[Array]:
    found: list[Array] = []
    for value in gradients.values():
        found += _leaves(value) if isinstance(value, dict) else [value]
    return found


def _share(where: Any) -> float:
    return float("nan") if where is None else float(np.mean(where))


def _size(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values.astype(np.float64)))))

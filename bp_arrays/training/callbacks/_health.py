"""What is measured of each layer to tell how healthy a net is: on its way forward and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bp_arrays.activations import ReLU, Sigmoid, Tanh
from bp_arrays.layers import Context, Layer
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.trees import leaves
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
    context = model.context(training=False, needs_input_gradient=True)
    watch = _Watch()
    y, backward = replace(context, visit=watch.visit).forward("", model.net, model.tree(), x)
    backward(loss.forward(y, t, context)[1]())
    host = model.device.to_numpy
    settled = np.abs(host(y) - host(t)) < RIGHT if t.shape == y.shape else False
    return [
        _health(each, settled if each.y is y else False, epoch, host)
        for each in watch.layers
        if each.delta is not None  # no error comes back through an output that is not used
    ]


@dataclass
class _Watched:
    """What passes a layer on its way forward, and back."""

    path: str
    layer: Layer
    y: Array
    delta: Array = None
    gradients: ParameterTree | None = None


class _Watch:
    """Looks at every layer that has parameters of its own or no layers in it."""

    def __init__(self) -> None:
        self.layers: list[_Watched] = []
        self._visits = 0

    def visit(
        self, layer: Layer, params: ParameterTree, x: Array, ctx: Context
    ) -> tuple[Array, Backward]:
        before = self._visits
        y, backward = layer.forward(params, x, ctx)
        is_container, self._visits = self._visits > before, self._visits + 1
        names = layer.parts()
        own = [name for name in params if name not in names and "" not in names]
        if (is_container and not own) or isinstance(y, (tuple, dict)):
            return y, backward
        watched = _Watched(".".join(ctx.path), layer, y)
        self.layers.append(watched)

        def looked_at(delta: Array) -> tuple[Array, ParameterTree]:
            dx, gradients = backward(delta)
            inner = {name: gradients[name] for name in own if name in gradients}
            watched.delta, watched.gradients = delta, inner if is_container else gradients
            return dx, gradients

        return y, looked_at


def _health(watched: _Watched, settled: Any, epoch: int, host: Any) -> LayerHealth:
    """The numbers of one layer; `settled` marks outputs of the net that are right already."""
    layer, y = watched.layer, host(watched.y).astype(np.float64)
    flat = _flat(layer, y)
    values = [np.ravel(host(gradient)) for gradient in leaves(watched.gradients or {})]
    return LayerHealth(
        epoch=epoch,
        path=watched.path or "net",
        kind=type(layer).__name__,
        mean=float(y.mean()),
        deviation=float(y.std()),
        saturated=_share(None if flat is None else flat & ~np.asarray(settled)),
        dead=_share((y == 0.0).all(axis=0) if isinstance(layer, ReLU) else None),
        error=_size(host(watched.delta)),
        gradient=_size(np.concatenate(values)) if values else float("nan"),
    )


def _flat(layer: Layer, h: Any) -> Any:
    """Where a sigmoid or tanh is flat, its slope known from its output; None for other layers."""
    if isinstance(layer, Sigmoid):
        return h * (1.0 - h) < FLAT * 0.25
    if isinstance(layer, Tanh):
        return 1.0 - h * h < FLAT
    return None


def _share(where: Any) -> float:
    return float("nan") if where is None else float(np.mean(where))


def _size(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values.astype(np.float64)))))

"""Health of a net: statistics of each layer's outputs, errors and gradients."""

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
"""The fraction of the steepest slope below which a slope is flat: |a| > 5.3 for the sigmoid."""

RIGHT = 0.5
"""The distance from its target below which a flat output is right, not saturated."""


@dataclass(frozen=True)
class LayerHealth:
    """The statistics of one layer after one epoch, on the samples of the probe.

    Parameters
    ----------
    epoch : int
    path, kind : str
        The layer's path in the net and its class.
    mean, std : float
        Of its outputs.
    saturated : float
        The fraction of outputs at which its slope is nearly 0; of the net's outputs only those
        that are also wrong. NaN for layers that do not saturate.
    dead : float
        The fraction of units that are 0 for every sample; NaN for layers other than ReLU.
    error : float
        The root mean square of δ = ∂L/∂(output).
    gradient : float
        The root mean square of the gradients of its parameters; NaN without parameters.
    """

    epoch: int
    path: str
    kind: str
    mean: float
    std: float
    saturated: float
    dead: float
    error: float
    gradient: float


def health_of(model: Model, x: Array, t: Array, loss: Loss, epoch: int) -> list[LayerHealth]:
    """Return the health of every layer on a batch, from input to output, inside containers too."""
    context = model.context(training=False, needs_input_gradient=True)
    observer = _Observer()
    y, backward = replace(context, visit=observer.visit).forward("", model.net, model.tree(), x)
    backward(loss.forward(y, t, replace(context, x=x))[1]())
    host = model.device.to_numpy
    outputs = [(y, t)]
    if isinstance(y, (dict, tuple)):
        keys = t if isinstance(t, dict) else range(len(t))
        outputs = [(y[key], t[key]) for key in keys]

    def is_right(layer: _Observation) -> Any:
        """Return the mask of the net's outputs that are right; False for a layer inside."""
        for output, target in outputs:
            if layer.y is output and target.shape == output.shape:
                return np.abs(host(output) - host(target)) < RIGHT
        return False

    return [
        _health(layer, is_right(layer), epoch, host)
        for layer in observer.layers
        if layer.delta is not None  # no error is propagated to an output that is not used
    ]


@dataclass
class _Observation:
    """The output of a layer, its error, and its gradients."""

    path: str
    layer: Layer
    y: Array
    delta: Array = None
    gradients: ParameterTree | None = None


class _Observer:
    """The observations of every layer that has its own parameters or no layers in it."""

    def __init__(self) -> None:
        self.layers: list[_Observation] = []
        self._visits = 0

    def visit(
        self, layer: Layer, params: ParameterTree, x: Array, ctx: Context
    ) -> tuple[Array, Backward]:
        before = self._visits
        y, backward = layer.forward(params, x, ctx)
        is_container, self._visits = self._visits > before, self._visits + 1
        names = layer.parts()
        own_names = [name for name in params if name not in names and "" not in names]
        if (is_container and not own_names) or isinstance(y, (tuple, dict)):
            return y, backward
        observation = _Observation(".".join(ctx.path), layer, y)
        self.layers.append(observation)

        def observed_backward(delta: Array) -> tuple[Array, ParameterTree]:
            dx, gradients = backward(delta)
            own_gradients = {name: gradients[name] for name in own_names if name in gradients}
            observation.delta = delta
            observation.gradients = own_gradients if is_container else gradients
            return dx, gradients

        return y, observed_backward


def _health(observation: _Observation, is_right: Any, epoch: int, host: Any) -> LayerHealth:
    """Return the health of one layer; `is_right` masks outputs of the net that are right."""
    layer, y = observation.layer, host(observation.y).astype(np.float64)
    flat = _flat(layer, y)
    values = [np.ravel(host(gradient)) for gradient in leaves(observation.gradients or {})]
    return LayerHealth(
        epoch=epoch,
        path=observation.path or "net",
        kind=type(layer).__name__,
        mean=float(y.mean()),
        std=float(y.std()),
        saturated=_fraction(None if flat is None else flat & ~np.asarray(is_right)),
        dead=_fraction((y == 0.0).all(axis=0) if isinstance(layer, ReLU) else None),
        error=_root_mean_square(host(observation.delta)),
        gradient=_root_mean_square(np.concatenate(values)) if values else float("nan"),
    )


def _flat(layer: Layer, h: Any) -> Any:
    """Return the mask of flat outputs of a sigmoid or tanh; None for other layers."""
    if isinstance(layer, Sigmoid):
        return h * (1.0 - h) < FLAT * 0.25
    if isinstance(layer, Tanh):
        return 1.0 - h * h < FLAT
    return None


def _fraction(mask: Any) -> float:
    return float("nan") if mask is None else float(np.mean(mask))


def _root_mean_square(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values.astype(np.float64)))))

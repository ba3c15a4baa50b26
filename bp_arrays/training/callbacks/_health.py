"""Health of a net: statistics of each layer's outputs, errors and gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bp_arrays.activations import ReLU, Sigmoid, Tanh
from bp_arrays.convolution import Conv1d, Conv2d
from bp_arrays.layers import Context, Layer, Linear
from bp_arrays.losses import Loss
from bp_arrays.model import Model, Objective
from bp_arrays.trees import leaves
from bp_arrays.typing import Array, Backward, HostArray, ParameterTree

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
    same : tuple of tuple of int
        Groups of units, counted from 1, with the same weights and the same gradients of them: they
        stay the same for ever. Of Linear layers and convolutions before the last layer.
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
    same: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Movement:
    """How far training has come after one epoch, on the samples of the probe.

    Parameters
    ----------
    epoch : int
    loss : float
    distance : float
        |θ − θ₀| / |θ₀| of all trained parameters, since the start; NaN if they began at 0.
    gain : float
        The part of the loss that a single larger step along the gradient takes away; NaN if it was
        not tried, as the parameters do move.
    """

    epoch: int
    loss: float
    distance: float
    gain: float = float("nan")


TRIED = (1e-3, 1e-2, 1e-1)
"""Lengths of the steps that `gain_of` tries, as parts of the length of θ."""


def gain_of(model: Model, x: Array, t: Array, loss: Loss) -> float:
    """Return the part of the loss that the best of some steps against the gradient takes away.

    The steps are made, as the slope alone promises too much to a net that has arrived.
    """
    xp, (theta, others) = model.device.xp, model.current_vectors()
    context = model.context(training=False, needs_input_gradient=False)
    objective = Objective(model.net, model.layout, loss)
    result = objective.gradient(theta, others, (x, t, None), context)
    length = float(xp.sqrt(xp.sum(result.g * result.g)))
    reach = float(xp.sqrt(xp.sum(theta * theta)))
    before = float(result.loss)
    if not (length > 0.0 and before > 0.0):
        return 0.0

    def loss_after(step: float) -> float:
        moved = theta - (step * reach / length) * result.g
        y, _ = model.net.forward(model.layout.tree(moved, others, xp), x, context)
        return float(loss.forward(y, t, context)[0])

    return 1.0 - min(map(loss_after, TRIED)) / before


def health_of(
    model: Model, x: Array, t: Array, loss: Loss, epoch: int
) -> tuple[list[LayerHealth], float]:
    """Return the health of every layer on a batch, inside containers too, and the loss."""
    context = model.context(training=False, needs_input_gradient=True)
    observer = _Observer()
    y, backward = replace(context, visit=observer.visit).forward("", model.net, model.tree(), x)
    value, loss_backward = loss.forward(y, t, replace(context, x=x))
    backward(loss_backward())
    host = model.device.to_numpy
    hidden = [layer for layer in observer.layers if layer.gradients][:-1]
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

    layers = []
    for layer in observer.layers:
        if layer.delta is not None:  # no error is propagated to an output that is not used
            health = _health(layer, is_right(layer), epoch, host)
            is_hidden = any(layer is each for each in hidden)
            layers.append(replace(health, same=_same_units(layer, host) if is_hidden else ()))
    return layers, float(value)


@dataclass
class _Observation:
    """The output of a layer, its error, and its gradients."""

    path: str
    layer: Layer
    y: Array
    params: ParameterTree
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
        observation = _Observation(".".join(ctx.path), layer, y, params)
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


ALIKE = 1e-5
"""Relative distance below which the weights of two units are the same: what float32 may add in a
long training to units that began equal. Units drawn at random differ by 1."""


def _same_units(observation: _Observation, host: Any) -> tuple[tuple[int, ...], ...]:
    """Return the groups of units whose weights and gradients are the same, counted from 1.

    Equal weights alone are no problem: the layers above may give the units different errors.
    """
    if not isinstance(observation.layer, (Linear, Conv1d, Conv2d)):
        return ()
    weights, gradients = (
        np.concatenate(
            [np.reshape(host(array), (-1, array.shape[-1])) for _, array in sorted(tree.items())]
        ).astype(np.float64)
        for tree in (observation.params, observation.gradients or {})
    )
    lengths = np.linalg.norm(weights, axis=0)
    order = np.argsort(lengths, kind="stable")  # units that are the same are neighbors
    ordered = lengths[order]
    if not (np.diff(ordered) <= ALIKE * ordered[1:]).any():
        return ()  # as in nearly every training: no two are even of the same length
    groups = [[order[0]]]
    for unit in order[1:]:
        first = groups[-1][0]
        if lengths[unit] - lengths[first] <= ALIKE * lengths[unit] and all(
            _alike(values[:, first], values[:, unit]) for values in (weights, gradients)
        ):
            groups[-1].append(unit)
        else:
            groups.append([unit])
    found = (tuple(sorted(int(k) + 1 for k in group)) for group in groups if len(group) > 1)
    return tuple(sorted(found))


def _alike(a: HostArray, b: HostArray) -> bool:
    scale = max(np.linalg.norm(a), np.linalg.norm(b))
    return bool(np.linalg.norm(a - b) <= ALIKE * scale)


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

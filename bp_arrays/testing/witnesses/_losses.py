"""Losses, sample by sample, in plain Python floats."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from bp_arrays.testing.witnesses._activations import log_softmax, softplus
from bp_arrays.testing.witnesses._witness import HostArrays
from bp_arrays.typing import HostArray

Row = list[float]


def l2(y: Row, t: Row) -> float:
    """½ Σ_j (y_j − t_j)²."""
    return 0.5 * math.fsum((y[j] - t[j]) ** 2 for j in range(len(y)))


def squared(y: Row, t: Row) -> float:
    return math.fsum((y[j] - t[j]) ** 2 for j in range(len(y))) / len(y)


def absolute(y: Row, t: Row) -> float:
    return math.fsum(abs(y[j] - t[j]) for j in range(len(y))) / len(y)


def huber(y: Row, t: Row, d: float = 0.7) -> float:
    def of(r: float) -> float:
        return 0.5 * r * r if abs(r) <= d else d * (abs(r) - 0.5 * d)

    return math.fsum(of(y[j] - t[j]) for j in range(len(y))) / len(y)


def binary(y: Row, t: Row, w: float = 1.0) -> float:
    """The mean of −w t log p − (1 − t) log(1 − p), with −log σ(y) = softplus(−y)."""
    return math.fsum(
        w * t[j] * softplus(-y[j]) + (1.0 - t[j]) * softplus(y[j]) for j in range(len(y))
    ) / len(y)


OF_SAMPLES: dict[str, Callable[[Row, Row], float]] = {
    "L2Loss": l2,
    "MeanSquaredError": squared,
    "MeanAbsoluteError": absolute,
    "Huber": huber,
    "BinaryCrossEntropy": binary,
    "BinaryCrossEntropy, pos_weight": partial(binary, w=3.0),
}
"""Losses with one value per sample, over all of its outputs."""


@dataclass(frozen=True)
class Options:
    """The options of a cross-entropy: smoothing, class weights, ignored class."""

    smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    ignored: int | None = None


OF_CLASSES: dict[str, Options] = {
    "CrossEntropy": Options(),
    "CrossEntropy, probabilities": Options(),
    "CrossEntropy, smoothed": Options(smoothing=0.1),
    "CrossEntropy, class weights": Options(class_weights=(0.5, 1.0, 2.0)),
    "CrossEntropy, ignored class": Options(ignored=-100),
    "CrossEntropy, all rules": Options(0.1, (0.5, 1.0, 2.0), -100),
}
"""Losses with one value per position: −Σ_k q_k log p_k."""


def loss_values(name: str, reduction: str, inputs: HostArrays) -> HostArrays:
    """Return Σ w ℓ for "sum", and that over Σ w for "mean"; 0 if nothing has a weight."""
    per_position = _samples if name in OF_SAMPLES else _classes
    losses, weights = per_position(name, inputs)
    value = math.fsum(w * loss for w, loss in zip(weights, losses, strict=True))
    total = math.fsum(weights) if reduction == "mean" else 1.0
    return {"value": np.array(value / total if total else 0.0)}


def _samples(name: str, inputs: HostArrays) -> tuple[Row, Row]:
    """Return the loss and the weight of every sample."""
    y, t = inputs["y"], inputs["t"]
    losses = [OF_SAMPLES[name](y[k].ravel().tolist(), t[k].ravel().tolist()) for k in range(len(y))]
    return losses, inputs.get("weight", np.ones(len(y))).tolist()


def _classes(name: str, inputs: HostArrays) -> tuple[Row, Row]:
    """Return the loss and the weight of every position of every sample."""
    options, y = OF_CLASSES[name], inputs["y"]
    weights = _weight_of_positions(inputs)
    losses = []
    for k, (row, q) in enumerate(zip(_rows(y), _targets(options, inputs), strict=True)):
        if options.class_weights is not None:
            weights[k] *= math.fsum(q[j] * options.class_weights[j] for j in range(len(q)))
        elif options.ignored is not None:
            weights[k] *= sum(q)  # 1, or 0 if it is ignored
        log_p, s = log_softmax(row), options.smoothing
        smoothed = [(1.0 - s) * q[j] + s / len(q) for j in range(len(q))]
        losses.append(-math.fsum(smoothed[j] * log_p[j] for j in range(len(q))))
    return losses, weights


def _weight_of_positions(inputs: HostArrays) -> Row:
    """Return the weight of each position: its own, or that of its sample."""
    shape = inputs["y"].shape[:-1]
    weight = inputs.get("weight", np.ones(shape[:1]))
    axes_of_positions = (1,) * (len(shape) - weight.ndim)
    column = np.reshape(weight, weight.shape + axes_of_positions)
    return np.broadcast_to(column, shape).ravel().tolist()


def _targets(options: Options, inputs: HostArrays) -> list[Row]:
    """Return q of every position: the probabilities as passed, or 1 at the class; 0 if ignored."""
    y, t = inputs["y"], inputs["t"]
    if t.ndim == y.ndim:
        return _rows(t)
    classes = t.ravel().tolist()
    return [[float(k == c and c != options.ignored) for k in range(y.shape[-1])] for c in classes]


def _rows(a: HostArray) -> list[Row]:
    rows: list[Row] = np.reshape(a, (-1, a.shape[-1])).tolist()
    return rows

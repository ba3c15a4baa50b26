"""Losses target by target and position by position, in plain Python floats."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby, product

import numpy as np

from bp_arrays.testing.witnesses._activations import log_softmax, softplus
from bp_arrays.testing.witnesses._witness import HostArrays
from bp_arrays.typing import HostArray

Row = list[float]


# -- losses with a term for each target ----------------------------------------------------------


def half_square(y: Row, t: Row) -> Row:
    return [0.5 * (a - b) ** 2 for a, b in zip(y, t, strict=True)]


def square(y: Row, t: Row) -> Row:
    return [(a - b) ** 2 for a, b in zip(y, t, strict=True)]


def distance(y: Row, t: Row) -> Row:
    return [abs(a - b) for a, b in zip(y, t, strict=True)]


def huber(y: Row, t: Row, d: float = 0.7) -> Row:
    return [
        0.5 * r * r if r <= d else d * (r - 0.5 * d) for r in map(abs, np.subtract(y, t).tolist())
    ]


def binary(y: Row, t: Row, w: float = 3.0) -> Row:
    """−w t log p − (1 − t) log(1 − p), with −log σ(y) = softplus(−y)."""
    return [w * b * softplus(-a) + (1.0 - b) * softplus(a) for a, b in zip(y, t, strict=True)]


def hinge(y: Row, t: Row, power: int = 1) -> Row:
    """max(0, 1 − y) for the target 1, max(0, 1 + y) for 0 and −1."""
    return [max(0.0, 1.0 - a if b == 1.0 else 1.0 + a) ** power for a, b in zip(y, t, strict=True)]


def poisson(y: Row, t: Row, full: bool = False) -> Row:
    """e^y − t y; with log t! it is −log(e^−λ λ^t / t!)."""
    more = [math.lgamma(b + 1.0) if full and b == b else 0.0 for b in t]
    return [math.exp(a) - b * a + c for a, b, c in zip(y, t, more, strict=True)]


def gaussian(y: Row, t: Row, epsilon: float, full: bool = False) -> Row:
    """−log of the normal density, less its constant unless full."""
    k, constant = len(t), 0.5 * math.log(2.0 * math.pi) if full else 0.0
    logs, squares = [], []
    for j in range(k):
        s = y[k + j]
        logs.append(s if s > 600.0 else math.log(epsilon + math.exp(s)))
        squares.append(((y[j] - t[j]) * math.exp(-0.5 * logs[j])) ** 2)
    return [constant + 0.5 * (a + b) for a, b in zip(logs, squares, strict=True)]


OF_TARGETS: dict[str, tuple[Callable[[Row, Row], Row], bool]] = {
    "L2Loss": (half_square, False),
    "MeanSquaredError": (square, True),
    "MeanAbsoluteError": (distance, True),
    "Huber": (huber, True),
    "BinaryCrossEntropy, pos_weight": (binary, True),
    "Hinge": (hinge, True),
    "SquaredHinge": (partial(hinge, power=2), True),
    "PoissonNLL": (poisson, True),
    "PoissonNLL, full": (partial(poisson, full=True), True),
    "GaussianNLL": (partial(gaussian, epsilon=1e-6), True),
    "GaussianNLL, full": (partial(gaussian, epsilon=0.1, full=True), True),
}
"""The terms of one position, and whether those of a sample are averaged."""


def values_of_targets(name: str, reduction: str, inputs: HostArrays) -> HostArrays:
    """Return the sum of the terms that count over n, or over what counts; 0 if nothing does."""
    terms_of, averages = OF_TARGETS[name]
    n = math.prod(inputs["t"].shape[1:])
    terms, weights = [], []
    for y, t, w in _positions(inputs):
        for term, target in zip(terms_of(y, t), t, strict=True):
            if not math.isnan(target):
                terms.append(w * term)
                weights.append(w)
    total = math.fsum(weights) / n if reduction == "mean" else 1.0
    value = math.fsum(terms) / (n if averages else 1)
    return {"value": np.array(value / total if total else 0.0)}


# -- losses with one value for each position -----------------------------------------------------


def divergence(y: Row, t: Row) -> float:
    log_p = log_softmax(y)
    return math.fsum(t[k] * (math.log(t[k]) - log_p[k]) for k in range(len(y)) if t[k] > 0.0)


def angle(y: Row, t: Row) -> float:
    length = math.hypot(*y) * math.hypot(*t)
    return 1.0 - (math.fsum(a * b for a, b in zip(y, t, strict=True)) / length if length else 0.0)


def margins(y: Row, t: Row, power: int, margin: float) -> float:
    c = int(t[0])
    gaps = [max(0.0, margin + y[k] - y[c]) ** power for k in range(len(y)) if k != c]
    return math.fsum(gaps) / len(y)


OF_POSITIONS: dict[str, tuple[Callable[[Row, Row], float], int | None]] = {
    "KLDivergence": (divergence, None),
    "CosineSimilarity": (angle, None),
    "MultiMargin": (partial(margins, power=1, margin=1.0), None),
    "MultiMargin, squared": (partial(margins, power=2, margin=0.7), -1),
}
"""The loss of one position, and the class that is ignored."""


def values_of_positions(name: str, reduction: str, inputs: HostArrays) -> HostArrays:
    """Return Σ w ℓ for "sum", and that over Σ w for "mean"; 0 if nothing has a weight."""
    loss_of, ignored = OF_POSITIONS[name]
    counted = [(y, t, w) for y, t, w in _positions(inputs) if t[0] != ignored]
    total = math.fsum(w for *_, w in counted) if reduction == "mean" else 1.0
    value = math.fsum(w * loss_of(y, t) for y, t, w in counted)
    return {"value": np.array(value / total if total else 0.0)}


def _positions(inputs: HostArrays) -> Iterator[tuple[Row, Row, float]]:
    """Yield outputs, targets and weight of each position of each sample."""
    y, t = inputs["y"], inputs["t"]
    if t.ndim < y.ndim:
        t = t[..., None]
    weight: HostArray = inputs.get("weight", np.ones(len(y)))
    for place in np.ndindex(y.shape[:-1]):
        w = weight[place] if weight.ndim > 1 else weight[place[0]]
        yield y[place].tolist(), t[place].tolist(), float(w)


# -- losses of pairs of samples, and of paths ----------------------------------------------------


def values_of_pairs(temperature: float, reduction: str, inputs: HostArrays) -> HostArrays:
    """Return the contrastive loss, pair by pair."""
    y, t = inputs["y"].tolist(), inputs["t"].tolist()
    weight = inputs.get("weight", np.ones(len(y))).tolist()
    losses, weights = [], []
    for i in range(len(y)):
        e = {j: math.exp((1.0 - angle(y[i], y[j])) / temperature) for j in range(len(y)) if j != i}
        positives = [j for j in e if t[j] == t[i]]
        if positives:
            total = math.fsum(e.values())
            log_p = math.fsum(math.log(e[j] / total) for j in positives)
            losses.append(-weight[i] * log_p / len(positives))
            weights.append(weight[i])
    divisor = math.fsum(weights) if reduction == "mean" else 1.0
    return {"value": np.array(math.fsum(losses) / divisor if divisor else 0.0)}


def values_of_triplets(margin: float, reduction: str, inputs: HostArrays) -> HostArrays:
    """max(0, d_ip − d_in + margin) of the hardest triplet of each sample that has one."""
    y, t = inputs["y"].tolist(), inputs["t"].tolist()
    weights = inputs.get("weight", np.ones(len(t))).tolist()
    losses, total = [], []
    for i, anchor in enumerate(y):
        distances = [
            (math.dist(anchor, other), t[j] == t[i]) for j, other in enumerate(y) if j != i
        ]
        same = [d for d, is_same in distances if is_same]
        others = [d for d, is_same in distances if not is_same]
        if same and others:
            losses.append(weights[i] * max(0.0, max(same) - min(others) + margin))
            total.append(weights[i])
    divisor = math.fsum(total) if reduction == "mean" else 1.0
    return {"value": np.asarray(math.fsum(losses) / (divisor or 1.0))}


def values_of_paths(blank: int, padding: int, reduction: str, inputs: HostArrays) -> HostArrays:
    """Return the CTC loss: every path is written out, and those that spell the target added up."""
    y, t = inputs["y"], inputs["t"]
    weight = inputs.get("weight", np.ones(len(y))).tolist()
    losses = []
    for i in range(len(y)):
        p = [[math.exp(a) for a in log_softmax(row)] for row in y[i].tolist()]
        target = [k for k in t[i].tolist() if k != padding]
        total = [
            math.prod(p[time][k] for time, k in enumerate(path))
            for path in product(range(y.shape[2]), repeat=y.shape[1])
            if [k for k, _ in groupby(path) if k != blank] == target
        ]
        losses.append(-weight[i] * math.log(math.fsum(total)))
    divisor = math.fsum(weight) if reduction == "mean" else 1.0
    return {"value": np.array(math.fsum(losses) / divisor)}

"""Update rules and schedules, parameter by parameter, in plain Python floats."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from bp_arrays.devices import device
from bp_arrays.testing.witnesses._witness import FORMULA, HostArrays, Witness

Rule = Callable[[float, list[float]], float]
"""From θ and the gradients of all updates to θ after them."""

Row = list[float]


def sgd(theta: float, gradients: Row, mu: float = 0.0, nesterov: bool = False) -> float:
    b = 0.0
    for g in gradients:
        b = mu * b + g
        theta -= 0.1 * (g + mu * b if nesterov else b)
    return theta


def weighted_average(values: Row, decay: float) -> float:
    """Return the mean of values, of which each older one weighs less by the factor `decay`."""
    weights = [decay**age for age in range(len(values))][::-1]
    return math.fsum(w * v for w, v in zip(weights, values, strict=True)) / math.fsum(weights)


def averaged_sgd(theta: float, gradients: Row) -> tuple[float, float, float]:
    """θ, the momentum and the average of θ after each update."""
    b, path = 0.0, []
    for g in gradients:
        b = 0.9 * b + g
        theta -= 0.1 * b
        path.append(theta)
    return theta, b, weighted_average(path, 0.9)


def rmsprop(theta: float, gradients: Row, mu: float = 0.0) -> float:
    """Tieleman, Hinton, lecture 6.5, 2012; ε outside of the root."""
    v = b = 0.0
    for g in gradients:
        v = 0.99 * v + 0.01 * g**2
        b = mu * b + g / (math.sqrt(v) + 1e-8)
        theta -= 0.01 * b
    return theta


def adagrad(theta: float, gradients: Row) -> float:
    s = 0.0
    for g in gradients:
        s += g**2
        theta -= 0.05 * g / (math.sqrt(s) + 1e-10)
    return theta


def adam(theta: float, gradients: Row, decay: float = 0.0, rates: Row | None = None) -> float:
    """Kingma, Ba, algorithm 1; with a decay Loshchilov, Hutter, algorithm 2, line 12."""
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        eta = 0.01 if rates is None else rates[t - 1]
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        m_hat, v_hat = m / (1.0 - 0.9**t), v / (1.0 - 0.999**t)
        theta = theta - eta * decay * theta - eta * m_hat / (math.sqrt(v_hat) + 1e-8)
    return theta


def half_cosine(step: int) -> float:
    return 0.01 * (1.0 + math.cos(math.pi * min(step, 4) / 4)) / 2.0


OF_NUMBERS: dict[str, Rule] = {
    "SGD": sgd,
    "SGD, momentum": partial(sgd, mu=0.9),
    "SGD, Nesterov": partial(sgd, mu=0.9, nesterov=True),
    "RMSProp": rmsprop,
    "RMSProp, momentum": partial(rmsprop, mu=0.9),
    "Adagrad": adagrad,
    "Adam": adam,
    "Adam, cosine": partial(adam, rates=[half_cosine(step) for step in range(4)]),
    "AdamW": partial(adam, decay=0.1),
}
"""By the name of the component, with the settings of its cases."""


def update_values(name: str, inputs: HostArrays) -> HostArrays:
    """Return θ after all updates."""
    theta: Row = inputs["theta"].tolist()
    gradients: list[Row] = [inputs[g].tolist() for g in sorted(inputs.keys() - {"theta"})]
    if name == "EMA":
        rows = [
            averaged_sgd(u, list(g))
            for u, g in zip(theta, zip(*gradients, strict=True), strict=True)
        ]
        return dict(zip(("theta", "state 0", "state 1"), np.array(rows).T, strict=True))
    if name in OF_NUMBERS:
        by_parameter = zip(theta, zip(*gradients, strict=True), strict=True)
        return {"theta": np.array([OF_NUMBERS[name](u, list(g)) for u, g in by_parameter])}
    return {"theta": np.array(TRANSFORMED[name](theta, gradients))}


def clipped(g: Row, max_norm: float) -> Row:
    """g, shortened to max_norm where it is longer; math.hypot neither overflows nor underflows."""
    norm = math.hypot(*g)
    return [a * max_norm / norm for a in g] if norm > max_norm else g


def clip_then_sgd(theta: Row, gradients: list[Row]) -> Row:
    for g in gradients:
        theta = [u - 0.1 * h for u, h in zip(theta, clipped(g, 0.5), strict=True)]
    return theta


def decay_then_sgd(theta: Row, gradients: list[Row]) -> Row:
    for g in gradients:
        theta = [u - 0.1 * (h + 0.1 * u) for u, h in zip(theta, g, strict=True)]
    return theta


def clip_decay_adam(theta: Row, gradients: list[Row]) -> Row:
    m, v = [0.0] * len(theta), [0.0] * len(theta)
    for t, g in enumerate(gradients, 1):
        for i, h in enumerate(clipped(g, 2.0)):
            h += 0.01 * theta[i]
            m[i], v[i] = 0.9 * m[i] + 0.1 * h, 0.999 * v[i] + 0.001 * h**2
            m_hat, v_hat = m[i] / (1.0 - 0.9**t), v[i] / (1.0 - 0.999**t)
            theta[i] -= 0.01 * m_hat / (math.sqrt(v_hat) + 1e-8)
    return theta


TRANSFORMED: dict[str, Callable[[Row, list[Row]], Row]] = {
    "ClipByGlobalNorm": clip_then_sgd,
    "WeightDecay": decay_then_sgd,
    "Chain": clip_decay_adam,
}
"""Rules in which the whole gradient matters, or a transform of it."""


def update_witnesses(name: str) -> tuple[Witness, ...]:
    """Return the witnesses of an optimizer: its formula, and PyTorch's where there is one."""
    formula = Witness(FORMULA, lambda inputs, results: update_values(name, inputs))
    if name not in TORCH or not device("torch:cpu").availability().usable:
        return (formula,)
    return formula, Witness("torch.optim", lambda inputs, results: torch_values(name, inputs))


TORCH: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {"lr": 0.1}),
    "SGD, momentum": ("SGD", {"lr": 0.1, "momentum": 0.9}),
    "SGD, Nesterov": ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "RMSProp": ("RMSprop", {"lr": 0.01}),
    "RMSProp, momentum": ("RMSprop", {"lr": 0.01, "momentum": 0.9}),
    "Adagrad": ("Adagrad", {"lr": 0.05}),
    "Adam": ("Adam", {"lr": 0.01}),
    "AdamW": ("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    "WeightDecay": ("SGD", {"lr": 0.1, "weight_decay": 0.1}),
}
"""PyTorch's class and its settings; all others are its defaults."""


def torch_values(name: str, inputs: HostArrays) -> HostArrays:
    """Return θ after all updates by PyTorch."""
    import torch

    kind, settings = TORCH[name]
    theta = torch.nn.Parameter(torch.tensor(inputs["theta"]))
    optimizer = getattr(torch.optim, kind)([theta], **settings)
    for g in sorted(inputs.keys() - {"theta"}):
        theta.grad = torch.tensor(inputs[g])
        optimizer.step()
    return {"theta": theta.detach().numpy()}


# -- schedules -----------------------------------------------------------------------------------


def on_plateau(losses: Row) -> Row:
    """Return the rates of epochs with these losses: half after each 2 that are no new best."""
    rates, rate, best, waited = [], 0.8, math.inf, 0
    for loss in losses:
        rates.append(rate)
        waited = 0 if loss < best * (1.0 - 1e-4) else waited + 1
        best = min(best, loss) if waited == 0 else best
        if waited > 1:
            rate, waited = rate / 2.0, 0
    return rates


def one_cycle(step: int, steps: int = 10) -> float:
    """From 1/25 up to 1 at update 0.3 steps − 1, then down to 1/250,000 at the last one."""
    top, last = 0.3 * steps - 1.0, steps - 1.0
    if step <= top:
        return 1.0 + (0.04 - 1.0) * (1.0 + math.cos(math.pi * step / top)) / 2.0
    fraction = (step - top) / (last - top)
    return 4e-6 + (1.0 - 4e-6) * (1.0 + math.cos(math.pi * min(fraction, 1.0))) / 2.0


RATES: dict[str, Callable[[int], float]] = {
    "Constant": lambda step: 0.3,
    "StepDecay": lambda step: 0.8 * 0.5 ** (step // 3),
    "Exponential": lambda step: 0.8 * math.exp(step * math.log(0.9)),
    "Cosine": lambda step: 0.1 + (0.8 - 0.1) * (1.0 + math.cos(math.pi * min(step, 8) / 8)) / 2.0,
    "Warmup": lambda step: 0.8 * min(1.0, (step + 1) / 5.0),
    "OneCycle": one_cycle,
}
"""The rate of an update, by the name of the schedule, with the settings of its cases."""


def schedule_values(name: str, inputs: HostArrays) -> HostArrays:
    """Return the learning rate of every update."""
    losses = inputs["losses"].tolist()
    if name == "ReduceOnPlateau":
        return {"rates": np.array(on_plateau(losses))}
    return {"rates": np.array([RATES[name](step) for step in range(len(losses))])}

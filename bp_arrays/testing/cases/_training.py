"""The cases of whole training steps and whole short trainings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from bp_arrays import activations as a, layers as l_, losses, optimizers as o
from bp_arrays.devices import Device, device
from bp_arrays.layers import Layer
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.optimizers import Optimizer
from bp_arrays.schedules import Cosine
from bp_arrays.testing._case import GRADIENT, PARAMETER, Case, Derivatives
from bp_arrays.testing._placement import HostArrays, Place
from bp_arrays.testing.cases._inputs import normal
from bp_arrays.testing.cases._layer import parameter_tree
from bp_arrays.training import Accuracy, fit
from bp_arrays.typing import Array

ROWS, FEATURES, CLASSES = 22, 6, 3
SEED = 1
"""Of the first weights and of Dropout's masks."""


@dataclass(frozen=True)
class Problem:
    """A network with a loss it suits and an optimizer to train it with."""

    net: Layer
    loss: Loss
    optimizer: Optimizer

    @property
    def classifies(self) -> bool:
        return isinstance(self.loss, losses.CrossEntropy)

    def model(self, where: str | Device, dtype: str) -> Model:
        """The network with its first weights."""
        return Model(self.net, FEATURES, device=where, dtype=dtype, seed=SEED)

    def inputs(self) -> HostArrays:
        """Rows whose target depends on them, and the weights to begin with."""
        x = normal("training", "x", shape=(ROWS, FEATURES))
        truth = np.tanh(x @ normal("training", "w", shape=(FEATURES, CLASSES)))
        t = truth.argmax(axis=1) if self.classifies else 0.5 + 0.5 * truth
        weights = self.model("cpu", "float64").host_parameters()
        return {"x": x, "t": t} | {PARAMETER + name: w for name, w in weights.items()}


PROBLEMS = {
    "notes": Problem(
        l_.Sequential(l_.Linear(3), a.Sigmoid(), l_.Linear(CLASSES), a.Sigmoid()),
        losses.L2Loss(),
        o.SGD(0.5),
    ),
    "classifier": Problem(
        l_.Sequential(l_.Linear(9), a.ReLU(), l_.Linear(CLASSES)), losses.CrossEntropy(), o.Adam()
    ),
    "dropout": Problem(
        l_.Sequential(
            l_.Standardize(), l_.Linear(9), a.Tanh(), l_.Dropout(0.3), l_.Linear(CLASSES)
        ),
        losses.CrossEntropy(label_smoothing=0.1),
        o.Chain(o.ClipByGlobalNorm(1.0), o.AdamW(Cosine(0.01, steps=9))),
    ),
    "residual": Problem(
        l_.Sequential(
            l_.Residual(l_.Linear(8), a.GELU(), l_.Linear(FEATURES)),
            l_.Linear(CLASSES),
            a.Softplus(),
        ),
        losses.Huber(0.7),
        o.SGD(0.05, momentum=0.9, nesterov=True),
    ),
}

STEP_LIMIT, TRAINING_LIMIT = 16.0, 64.0
"""A step is a chain of a few operations; a training feeds its own rounding back for twelve."""


def training_cases() -> Iterator[Case]:
    """One step, a short training, and one that moves to the device and back on its way."""
    computations = (
        ("training step", _step, STEP_LIMIT),
        ("training", _training, TRAINING_LIMIT),
        ("moved training", _moved_training, TRAINING_LIMIT),
    )
    for name, problem in PROBLEMS.items():
        for component, compute, limit in computations:
            case = Case(
                component,
                name,
                "training",
                problem.inputs,
                partial(compute, problem),
                limit,
                traceable=False,
            )
            yield case if compute is not _step else replace(case, derivatives=_judged(problem))


def _judged(problem: Problem) -> Derivatives:
    """A whole step before the oracles: the loss of the network, by every weight."""

    def objective(place: Place, arrays: dict[str, Array]) -> Array:
        context = place.context(seed=SEED)
        y, _ = problem.net.forward(parameter_tree(arrays), arrays["x"], context)
        return problem.loss.forward(y, arrays["t"], context)[0]

    trained = [entry.name for entry in problem.model("cpu", "float64").layout.trainable]
    return Derivatives(objective, {GRADIENT + name: PARAMETER + name for name in trained})


def _model(problem: Problem, place: Place, arrays: dict[str, Array], where: Device) -> Model:
    model = problem.model(where, place.dtype)
    weights = {name: arrays[PARAMETER + name] for name in model.parameters}
    model.set_parameters({name: place.device.to_numpy(w) for name, w in weights.items()})
    return model


def _named(prefix: str, arrays: dict[str, Array]) -> dict[str, Array]:
    return {prefix + name: array for name, array in arrays.items()}


def _step(problem: Problem, place: Place, arrays: dict[str, Array]) -> dict[str, Array]:
    model = _model(problem, place, arrays, place.device)
    value, gradients = model.gradients(arrays["x"], arrays["t"], problem.loss)
    return {"value": value} | _named(GRADIENT, gradients)


def _train(problem: Problem, model: Model, arrays: dict[str, Array], epochs: int) -> list[float]:
    history = fit(
        model,
        arrays["x"],
        arrays["t"],
        loss=problem.loss,
        optimizer=problem.optimizer,
        epochs=epochs,
        batch_size=8,  # the third batch of an epoch is a smaller one
        seed=5,
        metrics=[Accuracy()] if problem.classifies else [],
    )
    return list(history["loss"])


def _training(problem: Problem, place: Place, arrays: dict[str, Array]) -> dict[str, Array]:
    model = _model(problem, place, arrays, place.device)
    curve = _train(problem, model, arrays, epochs=4)
    return {"losses": place.array(np.asarray(curve))} | _named("trained ", model.parameters)


def _moved_training(problem: Problem, place: Place, arrays: dict[str, Array]) -> dict[str, Array]:
    """One epoch on the CPU, two here, one on the CPU: must equal all four in one place."""
    cpu = device("cpu")
    at_home = {name: place.device.to_numpy(array) for name, array in arrays.items()}
    model = _model(problem, place, arrays, cpu)
    curve = _train(problem, model, at_home, epochs=1)
    model.to(place.device)
    curve += _train(problem, model, arrays, epochs=2)
    model.to(cpu)
    curve += _train(problem, model, at_home, epochs=1)
    model.to(place.device)
    return {"losses": place.array(np.asarray(curve))} | _named("trained ", model.parameters)

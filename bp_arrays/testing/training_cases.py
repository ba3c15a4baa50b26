"""The cases of whole training steps and whole short trainings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from bp_arrays import activations as a, layers as l_, losses, optimizers as o
from bp_arrays.layers import Layer
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.optimizers import Optimizer
from bp_arrays.schedules import Cosine
from bp_arrays.testing.case import Case
from bp_arrays.testing.place import HostArrays, Place
from bp_arrays.testing.variants import normal
from bp_arrays.training import Accuracy, fit
from bp_arrays.typing import Array

ROWS, FEATURES, CLASSES = 22, 6, 3


@dataclass(frozen=True)
class Problem:
    """A network with a loss it suits and an optimizer to train it with."""

    net: Layer
    loss: Loss
    optimizer: Optimizer

    @property
    def classifies(self) -> bool:
        return isinstance(self.loss, losses.CrossEntropy)

    def inputs(self) -> HostArrays:
        """Rows whose target depends on them."""
        x = normal("training", "x", shape=(ROWS, FEATURES))
        truth = np.tanh(x @ normal("training", "w", shape=(FEATURES, CLASSES)))
        return {"x": x, "t": truth.argmax(axis=1) if self.classifies else 0.5 + 0.5 * truth}


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
    """One step, a short training, and a training that moves from the CPU half-way."""
    for name, problem in PROBLEMS.items():
        yield Case(
            "training step",
            name,
            "training",
            problem.inputs,
            partial(_step, problem),
            STEP_LIMIT,
            traceable=False,
        )
        yield Case(
            "training",
            name,
            "training",
            problem.inputs,
            partial(_training, problem),
            TRAINING_LIMIT,
            traceable=False,
        )
        yield Case(
            "moved training",
            name,
            "training",
            problem.inputs,
            partial(_moved_training, problem),
            TRAINING_LIMIT,
            traceable=False,
        )


def _model(problem: Problem, place: Place, start: str | None = None) -> Model:
    """The problem's model, its weights as float32 holds them in every dtype."""
    model = Model(problem.net, FEATURES, device=start or place.device, dtype=place.dtype, seed=1)
    exact = Model(problem.net, FEATURES, device="cpu", dtype="float32", seed=1)
    model.set_parameters(exact.host_parameters())
    return model


def _named(prefix: str, arrays: dict[str, Array]) -> dict[str, Array]:
    return {f"{prefix} {name}": array for name, array in arrays.items()}


def _step(problem: Problem, place: Place, arrays: dict[str, Array]) -> dict[str, Array]:
    model = _model(problem, place)
    value, gradients = model.gradients(arrays["x"], arrays["t"], problem.loss)
    return {"value": value} | _named("d", gradients)


def _train(problem: Problem, model: Model, arrays: dict[str, Array], epochs: int) -> Array:
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
    return np.asarray(history["loss"])


def _training(problem: Problem, place: Place, arrays: dict[str, Array]) -> dict[str, Array]:
    model = _model(problem, place)
    curve = _train(problem, model, arrays, epochs=4)
    return {"losses": place.array(curve)} | _named("trained", model.parameters)


def _moved_training(problem: Problem, place: Place, arrays: dict[str, Array]) -> dict[str, Array]:
    """Half of the epochs on the CPU, half here: must equal all of them in one place."""
    model = _model(problem, place, start="cpu")
    first = _train(
        problem, model, {k: place.device.to_numpy(v) for k, v in arrays.items()}, epochs=2
    )
    model.to(place.device)
    second = _train(problem, model, arrays, epochs=2)
    curve = np.concatenate([first, second])
    return {"losses": place.array(curve)} | _named("trained", model.parameters)

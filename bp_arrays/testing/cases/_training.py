"""Cases of training steps and short training runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from bp_arrays.activations import GELU, ReLU, Sigmoid, Softplus, Tanh
from bp_arrays.devices import Device, device
from bp_arrays.layers import Dropout, Layer, Linear, Residual, Sequential, Standardize
from bp_arrays.losses import CrossEntropy, Huber, L2Loss, Loss
from bp_arrays.model import Model
from bp_arrays.optimizers import FIRST_SCALE, SGD, Adam, AdamW, Chain, ClipByGlobalNorm, Optimizer
from bp_arrays.schedules import Cosine
from bp_arrays.testing._case import GRADIENT, PARAMETER, Case, Derivatives
from bp_arrays.testing._placement import HostArrays, Placement
from bp_arrays.testing.cases._inputs import normal
from bp_arrays.testing.cases._layer import parameter_tree
from bp_arrays.testing.witnesses._training import mixed_training, step_of_the_notes
from bp_arrays.testing.witnesses._witness import formula
from bp_arrays.training import Accuracy, fit
from bp_arrays.typing import Array

ROWS, FEATURES, CLASSES = 22, 6, 3
SEED = 1
"""Seed of the initial weights and of Dropout's masks."""


@dataclass(frozen=True)
class Problem:
    """A network with a loss and an optimizer."""

    net: Layer
    loss: Loss
    optimizer: Optimizer

    @property
    def classifies(self) -> bool:
        return isinstance(self.loss, CrossEntropy)

    def model(self, device: str | Device, dtype: str) -> Model:
        """Return the network with its initial weights."""
        return Model(self.net, FEATURES, device=device, dtype=dtype, seed=SEED)

    def inputs(self) -> HostArrays:
        """Return inputs, targets that depend on them, and the initial weights."""
        x = normal("training", "x", shape=(ROWS, FEATURES))
        truth = np.tanh(x @ normal("training", "w", shape=(FEATURES, CLASSES)))
        t = truth.argmax(axis=1) if self.classifies else 0.5 + 0.5 * truth
        weights = self.model("cpu", "float64").host_parameters()
        return {"x": x, "t": t} | {PARAMETER + name: w for name, w in weights.items()}


PROBLEMS = {
    "notes": Problem(
        Sequential(Linear(3), Sigmoid(), Linear(CLASSES), Sigmoid()),
        L2Loss(),
        SGD(0.5),
    ),
    "classifier": Problem(Sequential(Linear(9), ReLU(), Linear(CLASSES)), CrossEntropy(), Adam()),
    "dropout": Problem(
        Sequential(
            Standardize.of([[-1.0] * FEATURES, [3.0] * FEATURES]),
            Linear(9),
            Tanh(),
            Dropout(0.3),
            Linear(CLASSES),
        ),
        CrossEntropy(label_smoothing=0.1),
        Chain(ClipByGlobalNorm(1.0), AdamW(Cosine(0.01, steps=9))),
    ),
    "residual": Problem(
        Sequential(
            Residual(Linear(8), GELU(), Linear(FEATURES)),
            Linear(CLASSES),
            Softplus(),
        ),
        Huber(0.7),
        SGD(0.05, momentum=0.9, nesterov=True),
    ),
}

STEP_LIMIT, TRAINING_LIMIT = 16.0, 64.0
"""A step is a chain of a few operations; a training run accumulates rounding over twelve steps."""


MIXED = Problem(Sequential(Linear(9), Tanh(), Linear(CLASSES)), L2Loss(), SGD(0.02))
"""Trained in mixed precision. The targets are so large that float16 skips the first steps."""

MIXED_LIMIT = 0.5
"""In eps of the half precision, of the changes of the parameters: compilers leave roundings out,
and sums in another order turn some. A wrong scale, or parameters that are rounded too, are far
off."""


def mixed_training_cases() -> Iterator[Case]:
    """Yield a short training run for each compute dtype, against its roundings written out."""
    for dtype in ("float16", "bfloat16"):
        names = [entry.name for entry in MIXED.model("cpu", "float64").layout.trainable]
        yield Case(
            "mixed training",
            dtype,
            "training",
            _mixed_inputs,
            partial(_mixed_training, dtype),
            MIXED_LIMIT,
            wide=frozenset(["losses", *(f"change of {name}" for name in names)]),
            dtypes=(dtype,),
            traceable=False,
        )


def _mixed_inputs() -> HostArrays:
    inputs = MIXED.inputs()
    return inputs | {"x": inputs["x"][:16], "t": 4.0 * inputs["t"][:16]}


def _mixed_training(
    compute_dtype: str, placement: Placement, arrays: dict[str, Array]
) -> dict[str, Array]:
    on_host = {name: placement.device.to_numpy(array) for name, array in arrays.items()}
    if placement.dtype != compute_dtype:  # the reference
        scale = FIRST_SCALE if compute_dtype == "float16" else 1.0
        return mixed_training(
            on_host, compute_dtype, epochs=4, batch_size=8, rate=0.02, scale=scale
        )
    model = Model(
        MIXED.net, FEATURES, device=placement.device, compute_dtype=compute_dtype, seed=SEED
    )
    names = list(model.parameters)
    model.set_parameters({name: on_host[PARAMETER + name] for name in names})
    history = fit(
        model,
        on_host["x"],
        on_host["t"],
        loss=MIXED.loss,
        optimizer=MIXED.optimizer,
        epochs=4,
        batch_size=8,
        shuffle=False,
    )
    before = {
        name: placement.device.asarray(on_host[PARAMETER + name], "float32") for name in names
    }
    skipped = np.asarray(history.get("skipped_steps", [0.0] * 4), np.int32)
    return {
        "losses": placement.device.asarray(np.asarray(history["loss"]), "float32"),
        "skipped": placement.array(skipped),
    } | {f"change of {name}": model.parameters[name] - before[name] for name in names}


def training_cases() -> Iterator[Case]:
    """Yield cases of one step, of a short training run, and of one that moves between devices."""
    computations = (
        ("training step", _step, STEP_LIMIT),
        ("training", _training, TRAINING_LIMIT),
        ("moved training", _moved_training, TRAINING_LIMIT),
    )
    for name, problem in PROBLEMS.items():
        for component, compute, limit in computations:
            yield Case(
                component,
                name,
                "training",
                problem.inputs,
                partial(compute, problem),
                limit,
                derivatives=_derivatives(problem) if compute is _step else None,
                witnesses=formula(step_of_the_notes) if (compute, name) == (_step, "notes") else (),
                traceable=False,
            )


def _derivatives(problem: Problem) -> Derivatives:
    """Return the loss of the network as a function of every weight, for the oracles."""

    def objective(placement: Placement, arrays: dict[str, Array]) -> Array:
        context = placement.context(seed=SEED)
        y, _ = problem.net.forward(parameter_tree(arrays), arrays["x"], context)
        return problem.loss.forward(y, arrays["t"], context)[0]

    trained = [entry.name for entry in problem.model("cpu", "float64").layout.trainable]
    return Derivatives(objective, {GRADIENT + name: PARAMETER + name for name in trained})


def _model(
    problem: Problem, placement: Placement, arrays: dict[str, Array], device: Device
) -> Model:
    model = problem.model(device, placement.dtype)
    weights = {name: arrays[PARAMETER + name] for name in model.parameters}
    model.set_parameters({name: placement.device.to_numpy(w) for name, w in weights.items()})
    return model


def _named(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {prefix + name: array for name, array in arrays.items()}


def _step(problem: Problem, placement: Placement, arrays: dict[str, Array]) -> dict[str, Array]:
    model = _model(problem, placement, arrays, placement.device)
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
        batch_size=8,  # the third batch of an epoch is smaller
        seed=5,
        metrics=[Accuracy()] if problem.classifies else [],
    )
    return list(history["loss"])


def _training(problem: Problem, placement: Placement, arrays: dict[str, Array]) -> dict[str, Array]:
    model = _model(problem, placement, arrays, placement.device)
    curve = _train(problem, model, arrays, epochs=4)
    return {"losses": placement.array(np.asarray(curve))} | _named("trained ", model.parameters)


def _moved_training(
    problem: Problem, placement: Placement, arrays: dict[str, Array]
) -> dict[str, Array]:
    """Train one epoch on the CPU, two on the device, one on the CPU: as four in one placement."""
    cpu = device("cpu")
    on_host = {name: placement.device.to_numpy(array) for name, array in arrays.items()}
    model = _model(problem, placement, arrays, cpu)
    curve = _train(problem, model, on_host, epochs=1)
    model.to(placement.device)
    curve += _train(problem, model, arrays, epochs=2)
    model.to(cpu)
    curve += _train(problem, model, on_host, epochs=1)
    model.to(placement.device)
    return {"losses": placement.array(np.asarray(curve))} | _named("trained ", model.parameters)

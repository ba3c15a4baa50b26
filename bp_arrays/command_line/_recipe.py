"""Build the network, the loss and the optimizer of a training run from its options and data."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from bp_arrays.activations import Sigmoid, activation_named
from bp_arrays.command_line._schema import LOGITS
from bp_arrays.convolution import Conv2d, MaxPool2d
from bp_arrays.errors import InputError, unknown_name
from bp_arrays.initializers import HeNormal
from bp_arrays.layers import Dropout, Flatten, Layer, Linear, Reshape, Standardize
from bp_arrays.losses import Loss, loss_named
from bp_arrays.optimizers import EMA, AdamW, Optimizer, optimizer_named
from bp_arrays.readers import Dataset, Table
from bp_arrays.schedules import (
    Constant,
    Cosine,
    Exponential,
    OneCycle,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    Warmup,
)
from bp_arrays.typing import HostArray

DENSE, CONVOLUTIONAL = "dense", "convolutional"
NETWORKS = (DENSE, CONVOLUTIONAL)
"""The kinds of networks: Linear layers alone, or convolutions of images before them."""


@dataclass(frozen=True)
class Recipe:
    """The settings of a training run; None means a default that depends on the task or the rows."""

    network: str = DENSE
    layers: tuple[int, ...] | None = None
    activation: str = "relu"
    dropout: float = 0.0
    loss: str | None = None
    optimizer: str = "adamw"
    rate: float | None = None
    weight_decay: float | None = None
    schedule: str = "cosine"
    epochs: int | None = None
    batch: int | None = None
    accumulate: int = 1
    average: float | None = None
    standardize: bool = True
    sigmoid_outputs: bool = False

    def sized(self, rows: int, *, of_classes: bool, stops_early: bool = False) -> SizedRecipe:
        """Return the settings for a number of training rows, with no default left open.

        Measured by `python -m benchmarks.tables`: a few hundred rows need many epochs and a small
        net with a strong decay, or it learns their noise; a million need large batches. Where
        training stops early, the learning rate has not come down, and the average of the weights
        takes its place.
        """
        batch = self.batch or min(max(SMALLEST_BATCH, 2 ** int(math.log2(rows / 300))), 512)
        steps = -(-rows // (batch * self.accumulate))
        updates = min(LEAST_UPDATES, UPDATES_PER_ROW * rows)
        decay = self.weight_decay
        if decay is None:
            decay = 100.0 / rows if rows >= FEW_ROWS else 0.1 if of_classes else 1.0
        layers = self.layers
        if layers is None:
            layers = (32,) if rows < FEW_ROWS else (128, 64)
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        epochs = self.epochs or max(EPOCHS, -(-updates // steps))
        average = self.average
        if average is None:
            average = AVERAGED_FRACTION * epochs if stops_early else 0.0
        sizes = {
            "layers": layers,
            "weight_decay": decay,
            "epochs": epochs,
            "batch": batch,
            "average": average,
        }
        return SizedRecipe(**fields | sizes)


@dataclass(frozen=True)
class SizedRecipe(Recipe):
    """The settings of a training run on a known number of rows."""

    layers: tuple[int, ...] = ()
    weight_decay: float = 0.0
    epochs: int = 1
    batch: int = 1
    average: float = 0.0


FEW_ROWS = 1000
"""Training rows below which a small net with a strong weight decay is the default."""

EPOCHS, SMALLEST_BATCH = 30, 32
"""The default number of epochs, and rows per step, of a thousand rows or more."""

AVERAGED_FRACTION = 0.1
"""The fraction of the epochs over which weights are averaged by default where training may stop
early."""

LEAST_UPDATES, UPDATES_PER_ROW = 1000, 20
"""The default number of updates is at least the first, or the second for each row if fewer."""

NOTES = Recipe(
    layers=(3,),
    activation="sigmoid",
    loss="l2",
    optimizer="sgd",
    rate=2.0,
    schedule="constant",
    epochs=1500,
    batch=4,
    standardize=False,
    sigmoid_outputs=True,
)
"""The 2-3-2 net of the course notes: sigmoids throughout, ½Σ(y − t)², gradient descent."""

IMAGES = Recipe(
    network=CONVOLUTIONAL,
    layers=(128,),
    dropout=0.5,
    rate=2e-3,
    schedule="one_cycle",
    epochs=12,
    batch=64,
)
"""98.5 % of 2,000 MNIST digits held out, learned from 8,000."""

SMALLEST_IMAGE = 6
"""The smallest height and width: two 3 x 3 convolutions leave 2 x 2, which pooling makes 1 x 1."""

ADAM_RATE = 3e-3
"""With a cosine schedule, Adam's usual 1e-3 is slower and no better on the digits."""

SCHEDULES: dict[str, Callable[[float, int], Schedule]] = {
    "constant": lambda rate, steps: Constant(rate),
    "cosine": lambda rate, steps: Cosine(rate, steps),
    "exponential": lambda rate, steps: Exponential(rate, 0.01 ** (1.0 / steps)),
    "one_cycle": lambda rate, steps: OneCycle(rate, steps),
    "reduce_on_plateau": lambda rate, steps: ReduceOnPlateau(rate, factor=0.3, patience=3),
    "step_decay": lambda rate, steps: StepDecay(rate, factor=0.1, every=math.ceil(steps / 3)),
    "warmup": lambda rate, steps: Warmup(math.ceil(steps / 10), then=rate),
}
"""Schedules by name, as functions of the initial rate and the number of updates."""


def choices(names: Iterable[str]) -> str:
    """Return the names of classes as the options take them.

    >>> choices(["ReLU", "CrossEntropy", "L2Loss"])
    'relu, cross_entropy, l2'
    """
    words = (re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "_", n.removesuffix("Loss")) for n in names)
    return ", ".join(word.lower() for word in words)


def recipe_for(args: argparse.Namespace) -> Recipe:
    """Merge the user's options into the defaults for the data set, and check every name.

    Raises
    ------
    InputError
        For an unknown name, with the nearest known one.
    """
    defaults = IMAGES if args.network == CONVOLUTIONAL else Recipe()
    if args.data == "notes":
        if args.network is not None:
            raise InputError("--network: expected images, got notes; drop --network")
        defaults = NOTES
    values = {name: getattr(args, name) for name in defaults.__dataclass_fields__ if name in args}
    options = {name: value for name, value in values.items() if value is not None}
    recipe = replace(defaults, **options)
    if args.optimizer is not None and args.rate is None:
        recipe = replace(recipe, rate=None)
    decays = optimizer_named(recipe.optimizer) is AdamW
    if recipe.weight_decay is not None and not decays:
        raise InputError(
            f"--weight-decay: expected --optimizer adamw, got {recipe.optimizer}; drop one of them"
        )
    activation_named(recipe.activation)
    optimizer_named(recipe.optimizer)
    if recipe.loss is not None:
        loss_named(recipe.loss)
    recipe = replace(recipe, schedule=recipe.schedule.lower().replace("-", "_"))
    if recipe.schedule not in SCHEDULES:
        raise unknown_name("schedule", recipe.schedule, SCHEDULES)
    return recipe


def build_loss(recipe: Recipe, data: Dataset) -> Loss:
    """Return the chosen loss; by default cross-entropy for classes, squared error for values."""
    name = recipe.loss
    if name is None:
        name = "mean_squared_error" if data.classes is None else "cross_entropy"
    loss = loss_named(name)()
    if type(loss).__name__ in LOGITS and data.classes is None:
        raise InputError(
            f"--loss {name}: expected classes, but {data.source} has values; use "
            "--loss mean_squared_error, or --task classification if the values are classes"
        )
    return loss


def targets_for(loss: Loss, data: Dataset) -> HostArray:
    """Return the targets in the loss's form: classes, one-hot rows or values."""
    assert data.t is not None
    if data.classes is None or loss.takes_classes:
        return data.t
    return np.eye(len(data.classes))[data.t]


def build_layers(recipe: SizedRecipe, loss: Loss, data: Dataset) -> tuple[Layer, ...]:
    """Build the layers: Standardize, the hidden layers, the outputs, Standardize for values.

    Losses that compare outputs with the 0 and 1 of classes get sigmoid outputs, except
    BinaryCrossEntropy, which includes the sigmoid.
    """
    assert data.t is not None
    # of a table of texts, all inputs are 0 or 1 and stay so
    scales = recipe.standardize and not (isinstance(data, Table) and all(data.spec.is_indicator))
    layers: list[Layer] = [Standardize()] if scales else []
    if recipe.network == CONVOLUTIONAL:
        layers += convolutions(recipe.activation, data)
    for size in recipe.layers:
        layers += [Linear(size), activation_named(recipe.activation)()]
        if recipe.dropout:
            layers.append(Dropout(recipe.dropout))
    layers.append(Linear(data.t.shape[1] if data.classes is None else len(data.classes)))
    compares_classes = data.classes is not None and type(loss).__name__ not in LOGITS
    if recipe.sigmoid_outputs or compares_classes:
        layers.append(Sigmoid())
    elif recipe.standardize and data.classes is None:
        layers.append(Standardize())
    return tuple(layers)


def convolutions(activation: str, data: Dataset) -> list[Layer]:
    """Return two convolutions, which find strokes and their parts, and pooling.

    Raises
    ------
    InputError
        If the samples are not images, or smaller than the convolutions.
    """
    shape = data.image_shape
    if shape is None:
        raise InputError(
            f"--network {CONVOLUTIONAL}: expected images, IDX or an array (rows, height, width), "
            f"got {data.source}; drop --network"
        )
    if min(shape[:2]) < SMALLEST_IMAGE:
        raise InputError(
            f"--network {CONVOLUTIONAL}: expected images of {SMALLEST_IMAGE} pixels or more, got "
            f"{shape[0]} x {shape[1]}; drop --network"
        )
    layers: list[Layer] = [Reshape(shape)]
    for channels in (32, 64):
        layers += [Conv2d(channels, 3, weight_init=HeNormal()), activation_named(activation)()]
    return [*layers, MaxPool2d(2), Dropout(0.25), Flatten()]


def build_optimizer(recipe: SizedRecipe, steps: int) -> Optimizer:
    """Build the optimizer with its learning-rate schedule over this number of updates."""
    kind = optimizer_named(recipe.optimizer)
    schedule = SCHEDULES[recipe.schedule](learning_rate(recipe), steps)
    optimizer = (
        AdamW(schedule, weight_decay=recipe.weight_decay) if kind is AdamW else kind(schedule)
    )
    return averaged(optimizer, recipe.average * steps / recipe.epochs)


def averaged(optimizer: Optimizer, updates: float) -> Optimizer:
    """Return the optimizer with an average of the weights over so many updates, if over several."""
    return EMA(optimizer, decay=1.0 - 1.0 / updates) if updates > 1.0 else optimizer


def learning_rate(recipe: SizedRecipe) -> float:
    """Return the learning rate that the schedule of a training run starts from."""
    if recipe.rate is not None:
        return recipe.rate
    kind = optimizer_named(recipe.optimizer)
    return ADAM_RATE if kind.__name__ in ("Adam", "AdamW") else kind().rate(0)  # type: ignore[call-arg]

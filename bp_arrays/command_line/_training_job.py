"""What a training is given, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.command_line._recipe import Recipe
from bp_arrays.layers import Layer, Linear
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.optimizers import Optimizer
from bp_arrays.readers import Dataset, Split
from bp_arrays.training import ConfusionMatrix, History
from bp_arrays.typing import HostArray


@dataclass(frozen=True, eq=False)
class Job:
    """A training, ready to begin.

    Parameters
    ----------
    name : str
        The data as the user named it.
    data, parts, recipe
    t : array
        The targets as the loss takes them.
    layers : tuple of Layer
        The layers of the model, in order.
    loss, optimizer, model
    seed : int
    """

    name: str
    data: Dataset
    parts: Split
    recipe: Recipe
    t: HostArray
    layers: tuple[Layer, ...]
    loss: Loss
    optimizer: Optimizer
    model: Model
    seed: int

    @property
    def network(self) -> str:
        """The net in short: "64-128-64-10 relu"."""
        sizes = (*self.model.input_shape, *self.recipe.layers, *self.model.output_shape)
        kind = self.recipe.activation if self.recipe.layers else "linear"
        return f"{'-'.join(map(str, sizes))} {kind}"

    @property
    def layer_names(self) -> list[str]:
        """The layers in short: ["Standardize", "Linear(128)", "ReLU", ...]."""
        return [
            f"Linear({layer.out_features})" if isinstance(layer, Linear) else type(layer).__name__
            for layer in self.layers
        ]


@dataclass(frozen=True, eq=False)
class Outcome:
    """How a training went.

    Parameters
    ----------
    history : History
    train, test : dict of str to float
        Loss and metric of the finished model on the rows it was trained on, and on those held
        out; empty where there are no rows.
    seconds : float
        Of the training alone.
    confusion : ConfusionMatrix, or None
        Of the held-out rows; None without any, or if the targets are values.
    """

    history: History
    train: dict[str, float]
    test: dict[str, float]
    seconds: float
    confusion: ConfusionMatrix | None


def plan(job: Job) -> str:
    """What is going to be done, in a few lines."""
    data, parts, recipe, model = job.data, job.parts, job.recipe, job.model
    kinds = f"{len(data.classes)} classes" if data.classes else f"{job.t.shape[1]} values"
    return "\n".join(
        [
            f"data      {data.source}: {data.x.shape[1]} features, {data.task}, {kinds}",
            f"rows      {len(parts.train)} to train on, {len(parts.validation)} for validation, "
            f"{len(parts.test)} held out ({parts.rule})",
            f"network   {', '.join(job.layer_names)}: {model.parameter_count} parameters",
            f"training  {type(job.loss).__name__}, {recipe.optimizer} with {recipe.schedule} "
            f"rate from {job.optimizer.rate(0):.3g}, {recipe.epochs} epochs in batches of "
            f"{recipe.batch}",
            f"on        {model.device.name} in {model.dtype}, seed {job.seed}",
        ]
    )


def last_line(job: Job, outcome: Outcome, saved: object | None) -> str:
    """What was trained, how well on held-out data, where it was saved."""
    history, test = outcome.history, outcome.test
    rows = f"on {len(job.parts.test)} held-out rows"
    if not test:
        result = "no rows held out"
    elif "accuracy" in test:
        result = f"accuracy {test['accuracy']:.2%} {rows}"
    else:
        result = f"loss {test['loss']:.4g}, R2 {test['r2']:.4f} {rows}"
    ended = f" ({history.stopped})" if history.stopped else ""
    where = f"saved to {saved}" if saved else "not saved (use --out MODEL)"
    return (
        f"trained {job.network} on {job.name} for {history.epochs} epochs{ended} in "
        f"{outcome.seconds:.1f} s: {result}; {where}"
    )

"""`TrainingJob` and `TrainingResult`: everything a training run needs, and its results."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.command_line._recipe import CONVOLUTIONAL, SizedRecipe
from bp_arrays.command_line._target_units import TargetUnits
from bp_arrays.distributed import ProcessGroup
from bp_arrays.layers import Layer, Linear
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.optimizers import Optimizer
from bp_arrays.readers import Dataset, Split, Table
from bp_arrays.tables import TextColumn
from bp_arrays.training import ConfusionMatrix, History
from bp_arrays.typing import HostArray


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """A training run that is ready to start.

    Parameters
    ----------
    name : str
        The data as the user named it.
    data, parts, recipe
    t : array
        The targets in the form the loss expects, standardized if there are units.
    units : TargetUnits, or None
        The units of the targets.
    layers : tuple of Layer
        The layers of the trained model, in order.
    loss, optimizer, model
    seed : int
    group : ProcessGroup, or None
        The processes that train together.
    patience : int, or None
        Epochs without a better validation loss before training stops.
    """

    name: str
    data: Dataset
    parts: Split
    recipe: SizedRecipe
    t: HostArray
    units: TargetUnits | None
    layers: tuple[Layer, ...]
    loss: Loss
    optimizer: Optimizer
    model: Model
    seed: int
    group: ProcessGroup | None = None
    patience: int | None = None

    @property
    def network(self) -> str:
        """Short form of the net: "64-128-64-10 relu"."""
        sizes = (*self.model.input_shape, *self.recipe.layers, *self.model.output_shape)
        kind = self.recipe.activation if self.recipe.layers else "linear"
        if self.recipe.network == CONVOLUTIONAL:
            kind += f" {CONVOLUTIONAL}"
        return f"{'-'.join(map(str, sizes))} {kind}"

    @property
    def layer_names(self) -> list[str]:
        """Short names of the layers: ["Standardize", "Linear(128)", "ReLU", ...]."""
        return [
            f"Linear({layer.out_features})" if isinstance(layer, Linear) else type(layer).__name__
            for layer in self.layers
        ]


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """The result of a training run.

    Parameters
    ----------
    model : Model
        The trained model; takes and gives the units of the data.
    history : History
    train, test : dict of str to float
        Loss and metric of the trained model on the training rows and on the test rows; empty
        without such rows.
    seconds : float
        Duration of `fit` alone.
    confusion : ConfusionMatrix, or None
        On the test rows; None without any, or if the targets are values.
    outputs : array (test rows, outputs), or None
        The model's outputs on the test rows, in the units of the data.
    """

    model: Model
    history: History
    train: dict[str, float]
    test: dict[str, float]
    seconds: float
    confusion: ConfusionMatrix | None
    outputs: HostArray | None


def table_lines(data: Table) -> list[str]:
    """Describe the columns of a table, and what was done with them."""
    texts = [len(c.feature_names) for c in data.spec.columns if isinstance(c, TextColumn)]
    numbers = len(data.spec.columns) - len(texts)
    parts = [f"{numbers} of numbers"] * (numbers > 0)
    parts += [f"{len(texts)} of texts as {sum(texts)} categories"] * bool(texts)
    return [f"columns   {', '.join(parts)}", *data.notes]


def plan(job: TrainingJob) -> str:
    """Describe the training run in a few lines, before it starts."""
    data, parts, recipe, model = job.data, job.parts, job.recipe, job.model
    kinds = f"{len(data.classes)} classes" if data.classes else f"{job.t.shape[1]} values"
    return "\n".join(
        [
            f"data      {data.source}: {data.x.shape[1]} features, {data.task}, {kinds}",
            *(table_lines(data) if isinstance(data, Table) else []),
            f"rows      {len(parts.train)} for training, {len(parts.validation)} for validation, "
            f"{len(parts.test)} for testing ({parts.rule})",
            f"network   {', '.join(job.layer_names)}: {model.parameter_count} parameters",
            f"training  {type(job.loss).__name__}, {recipe.optimizer} with {recipe.schedule} "
            f"rate from {job.optimizer.rate(0):.3g}, {recipe.epochs} epochs in batches of "
            f"{recipe.batch}{_division(job)}"
            + (f", weights averaged over {recipe.average:g} epochs" if recipe.average else "")
            + (f", or until {job.patience} bring no better one" if job.patience else ""),
            f"device    {model.device.name} in {model.described_dtype}, seed {job.seed}",
        ]
    )


def _division(job: TrainingJob) -> str:
    """Describe the parts of a batch: ", 4 per update, in 2 processes"; "" for one part."""
    updates = f", {job.recipe.accumulate} per update" if job.recipe.accumulate > 1 else ""
    return updates + ("" if job.group is None else f", in {job.group.size} processes")


def score_line(job: TrainingJob, result: TrainingResult) -> str:
    """Return the score of the model on the test rows, in a phrase."""
    test, rows = result.test, f"on {len(job.parts.test)} test rows"
    if not test:
        return "no test rows"
    if "accuracy" in test:
        return f"accuracy {test['accuracy']:.2%} {rows}"
    return f"loss {test['loss']:.4g}, R2 {test['r2']:.4f} {rows}"


def last_line(job: TrainingJob, result: TrainingResult, saved: object | None) -> str:
    """Summarize the training run: the net, its score on the test rows, the file of the model."""
    history = result.history
    ended = f" ({history.stopped})" if history.stopped else ""
    file = f"saved to {saved}" if saved else "not saved (use --out MODEL)"
    return (
        f"trained {job.network} on {job.name} for {history.epochs} epochs{ended} in "
        f"{result.seconds:.1f} s: {score_line(job, result)}; {file}"
    )

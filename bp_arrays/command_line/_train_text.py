"""Train a small GPT on a text, for `bp-arrays sample` to write more of it."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from bp_arrays.command_line._messages import warnings_on_stderr
from bp_arrays.command_line._open_model import VOCABULARY
from bp_arrays.command_line._target_device import target_device
from bp_arrays.command_line._text_job import (
    BATCH,
    BATCHES_PER_EPOCH,
    BLOCKS,
    DECAY,
    EPOCHS,
    FEATURES,
    RATE,
    VALIDATION,
    WINDOW,
    RandomWindows,
    Text,
    TextRecipe,
)
from bp_arrays.distributed import ProcessGroup
from bp_arrays.errors import InputError
from bp_arrays.files import write_atomically
from bp_arrays.inputs import InputSpec
from bp_arrays.losses import CrossEntropy
from bp_arrays.model import Model
from bp_arrays.training import Checkpoint, EarlyStopping, History, fit

OF_TABLES = ("target", "network", "columns", "drop", "missing", "sep", "task", "test",
             "standardize", "loss", "optimizer", "schedule")  # fmt: skip
"""Options of `bp-arrays train` that a text does not take."""


def is_text(name: str) -> bool:
    """Return True for the name of a text file."""
    return name.lower().endswith(".txt")


class TextTraining:
    """A training run on a text, checked and ready to start.

    Parameters
    ----------
    args : Namespace
        The options of `bp-arrays train`.
    group : ProcessGroup, or None
        The processes that train together.
    """

    def __init__(self, args: argparse.Namespace, group: ProcessGroup | None) -> None:
        for option in OF_TABLES:
            if getattr(args, option) is not None:
                raise InputError(
                    f"--{option}: expected a table or images, got the text {args.data}; name a "
                    f"table .csv, or drop --{option}"
                )
        validation = VALIDATION if args.validation is None else args.validation
        if args.patience and not validation:
            raise InputError("--patience: expected --validation above 0, which it watches")
        self.args, self.group = args, group
        self.recipe = recipe = TextRecipe(
            layers=(FEATURES,) * BLOCKS if args.layers is None else args.layers,
            activation=args.activation or "gelu",
            dropout=args.dropout or 0.0,
            rate=args.rate or RATE,
            weight_decay=DECAY if args.weight_decay is None else args.weight_decay,
            window=args.window or WINDOW,
            batch=args.batch or BATCH,
            epochs=args.epochs or EPOCHS,
            accumulate=args.accumulate or 1,
            average=args.average or 0.0,
        )
        target = target_device(args, group)
        self.text = Text.read(args.data, validation, recipe.window)
        characters = len(self.text.vocabulary)
        self.model = Model(
            recipe.network(characters),
            InputSpec((recipe.window,), "index"),
            device=target,
            dtype=args.dtype or "float32",
            seed=args.seed,
            compute_dtype=args.compute_dtype,
        )
        self.model.metadata[VOCABULARY] = self.text.vocabulary

    @property
    def network(self) -> str:
        """Short form of the net: "GPT of 4 blocks, width 128"."""
        layers = self.recipe.layers
        return f"GPT of {counted(len(layers), 'block')}, width {layers[0]}"

    def plan(self) -> str:
        """Describe the training run in a few lines, before it starts."""
        recipe, text, model = self.recipe, self.text, self.model
        updates = f", {recipe.accumulate} per update" if recipe.accumulate > 1 else ""
        processes = "" if self.group is None else f", in {self.group.size} processes"
        count = len(text.validation)
        last = f", the last {count} for validation" if count else ""
        return "\n".join(
            [
                f"data      {text.name}: {len(text.vocabulary)} different characters, "
                f"{len(text.train)} for training{last}",
                f"network   {self.network}, {counted(recipe.heads, 'head')}, looks "
                f"back {counted(recipe.window, 'character')}: {model.parameter_count} parameters",
                f"training  CrossEntropy, adamw with cosine rate up to {recipe.rate:.3g}, "
                f"{counted(recipe.epochs, 'epoch')} of {BATCHES_PER_EPOCH} batches of "
                f"{recipe.batch} windows{updates}{processes}",
                f"device    {model.device.name} in {model.described_dtype}, seed {self.args.seed}",
            ]
        )

    def train(self, checkpoint: Checkpoint | None) -> History:
        """Train the model."""
        args, recipe = self.args, self.recipe
        windows = RandomWindows(self.text.train, recipe.window, recipe.batch, args.seed, self.model)
        with warnings_on_stderr():
            return fit(
                self.model,
                windows,
                loss=CrossEntropy(),
                optimizer=recipe.optimizer(),
                epochs=recipe.epochs,
                seed=args.seed,
                validation=self.text.validation_windows(recipe.window),
                callbacks=[EarlyStopping(args.patience)] if args.patience else [],
                checkpoint=checkpoint,
                resume=args.resume,
                progress=not args.quiet,
                accumulate=recipe.accumulate,
                distributed=self.group,
            )

    def save(self, history: History) -> None:
        """Write the files that the options ask for."""
        args = self.args
        if args.out is not None:
            self.model.save(args.out.resolve())
        if args.report is not None:
            write_atomically(args.report.resolve(), self._report(args.report, history))
        if args.plot is not None:
            history.plot(path=args.plot)

    def _report(self, path: Path, history: History) -> bytes:
        settings: dict[str, Any] = {
            "data": self.text.name,
            "characters": len(self.text.vocabulary),
            "network": self.network,
            **{name: getattr(self.recipe, name) for name in self.recipe.__dataclass_fields__},
            "optimizer": repr(self.recipe.optimizer()),
            "train_characters": len(self.text.train),
            "validation_characters": len(self.text.validation),
            "patience": self.args.patience,
            "device": self.model.device.name,
            "dtype": self.model.dtype,
            "compute_dtype": self.model.compute_dtype,
            "seed": self.args.seed,
        }
        if path.suffix.lower() == ".json":
            report = {**settings, "history": {name: list(history[name]) for name in history}}
            return (json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode()
        settings["layers"] = ", ".join(map(str, self.recipe.layers))
        title = f"{self.network} on {self.text.name}"
        return history.to_html(model=self.model, title=title, settings=settings).encode()

    def last_line(self, history: History) -> str:
        """Summarize the training run: the net, its loss, the file of the model."""
        ended = f" ({history.stopped})" if history.stopped else ""
        name = "val_loss" if "val_loss" in history else "loss"
        loss = "no epoch ended"
        if history.epochs:
            value = history[name][(history.kept_epoch or history.epochs) - 1]
            what = "validation loss" if name == "val_loss" else "loss"
            loss = f"{what} {value:.4f}, {value / math.log(2.0):.2f} bits per character"
        file = "not saved (use --out MODEL)"
        if self.args.out is not None:
            file = f"saved to {self.args.out}; bp-arrays sample {self.args.out} writes a text"
        seconds = sum(history["seconds"]) if history.epochs else 0.0
        return (
            f"trained {self.network} on {self.text.name} for {counted(history.epochs, 'epoch')}"
            f"{ended} in {seconds:.1f} s: {loss}; {file}"
        )


def counted(number: int, thing: str) -> str:
    """Return "1 block", "2 blocks"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"

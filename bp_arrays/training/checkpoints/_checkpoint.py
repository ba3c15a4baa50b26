"""`Checkpoint`: the folder and the frequency of the checkpoints of a training run."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bp_arrays.checks import argument_error, check_integer

SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0}
"""Units of time, in seconds."""

EXPECTED = (
    'a number and a unit, such as "1 epoch", "500 steps", "90 seconds" or "10 minutes", as a string'
)


class Interval(NamedTuple):
    """A number of epochs, steps or seconds; the other units of time are converted to seconds."""

    number: float
    unit: str


@dataclass(frozen=True)
class Checkpoint:
    """Save the whole state of training to a folder, again and again, for `fit(resume=folder)`.

    A checkpoint is one file, `step-000000001500.safetensors` after 1500 updates. It is written
    under another name, flushed to the disk and renamed, so that a process that is killed, or a
    full disk, leaves the checkpoints before it intact; it carries a checksum of all its bytes. In
    addition to those that are due, one is saved when training ends, when Ctrl-C is pressed, and
    when the process is asked to end (SIGTERM). A checkpoint that cannot be written is reported in
    the log (`bp_arrays`, WARNING), and training continues.

    Parameters
    ----------
    folder : path
        Created if it does not exist. One process at a time may write to it.
    every : str, default "1 epoch"
        A number of epochs, steps (updates), seconds, minutes or hours: "2 epochs", "500 steps",
        "10 minutes". Half an epoch, "0.5 epochs", is counted in steps. Time is measured between
        steps, so a checkpoint may be late by one step, or by 32 on a GPU.
    keep : int or None, default 3
        How many checkpoints stay in the folder: the last ones, by their number of updates. None
        keeps all.
    best : str, optional
        A series of the history, such as "val_loss" or "accuracy": the checkpoint after the epoch
        at which it is best is kept too, as `best.safetensors`. A loss is best where it is
        smallest, any other series where it is largest.

    Raises
    ------
    InputError
        If an argument is not as described.

    Notes
    -----
    `bp.load` opens each file as a model, for example `best.safetensors`, if the model can be
    saved at all.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import bp_arrays as bp
    >>> x, t = np.linspace(0.0, 1.0, 64)[:, None], np.linspace(1.0, 3.0, 64)[:, None]
    >>> settings = {"loss": bp.L2Loss(), "optimizer": bp.Adam(0.01)}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model = bp.Model(bp.Linear(1), input_shape=1, device="cpu", seed=0)
    ...     checkpoint = bp.Checkpoint(folder, every="1 epoch", keep=2)
    ...     _ = bp.fit(model, x, t, epochs=2, checkpoint=checkpoint, **settings)
    ...     again = bp.Model(bp.Linear(1), input_shape=1, device="cpu")
    ...     history = bp.fit(again, x, t, epochs=3, resume=folder, **settings)
    >>> history.epochs
    3
    """

    folder: str | os.PathLike[str]
    every: str = "1 epoch"
    keep: int | None = 3
    best: str | None = None
    interval: Interval = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", folder_path("Checkpoint", "folder", self.folder))
        object.__setattr__(self, "interval", parse_interval("Checkpoint", "every", self.every))
        if self.keep is not None:
            check_integer(self, "keep", at_least=1)
        if not (self.best is None or (isinstance(self.best, str) and self.best)):
            expected = 'the name of a series of the history, such as "val_loss"'
            raise argument_error("Checkpoint", "best", self.best, expected)


def folder_path(where: str, name: str, value: Any) -> Path:
    """Return an argument as the path of a folder.

    Raises
    ------
    InputError
        If it is not a path, or a file has this name.
    """
    is_path = isinstance(value, (str, os.PathLike)) and str(value) and "\0" not in str(value)
    path = Path(value).expanduser() if is_path else None
    if path is None or _is_file(path):
        got = "" if path is None else "this is a file"
        shown = value if path is None else str(path)
        raise argument_error(where, name, shown, "the path of a folder", got)
    return path


def _is_file(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except OSError:  # a name that is too long, or a folder above it that may not be read
        return False


def parse_interval(where: str, name: str, value: Any) -> Interval:
    """Return an interval such as "2 epochs" as a number and a unit.

    Raises
    ------
    InputError
        If it is not a positive number and a known unit, or not a whole number of steps.

    Examples
    --------
    >>> parse_interval("Checkpoint", "every", "1.5 minutes")
    Interval(number=90.0, unit='second')
    """
    pattern = r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-z]+?)s?\s*"
    match = re.fullmatch(pattern, value.lower()) if isinstance(value, str) else None
    units = ("epoch", "step", *SECONDS)
    if match is None or match[2] not in units:
        raise argument_error(where, name, value, EXPECTED)
    try:
        number = float(match[1]) * SECONDS.get(match[2], 1.0)
    except ValueError:
        raise argument_error(where, name, value, EXPECTED) from None
    if not 0.0 < number < math.inf:
        raise argument_error(where, name, value, "a finite number > 0 and a unit")
    if match[2] == "step" and number != int(number):
        raise argument_error(where, name, value, "a whole number of steps")
    return Interval(number, "second" if match[2] in SECONDS else match[2])

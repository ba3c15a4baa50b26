"""Figure of a training run: its curves and, for classification, the confusion matrix."""

from __future__ import annotations

from pathlib import Path

from bp_arrays.command_line._training_job import TrainingResult
from bp_arrays.errors import InputError
from bp_arrays.plots import (
    PANEL,
    Best,
    check_picture,
    draw_confusion,
    draw_curves,
    new_picture,
    panel_names,
    picture_size,
    save_picture,
)

MATRIX = -1
"""The panel of the confusion matrix; those of the curves count from 0."""


def check_plot(path: Path) -> None:
    """Raise, before training, unless a figure can be written to this path.

    Raises
    ------
    MissingExtraError
        If Matplotlib is not installed.
    InputError
        If the suffix is not an image format.
    """
    try:
        check_picture(path)
    except InputError as error:
        raise InputError(f"--plot {error}") from None


def plot(result: TrainingResult, title: str, path: Path) -> None:
    """Draw the curves, with the held-out values as levels, and the confusion matrix."""
    history, confusion = result.history, result.confusion
    names = panel_names(history) if history.epochs else ["loss"]  # Ctrl-C in the first epoch
    panels, widths, height = [list(range(len(names)))], [PANEL[0]] * len(names), PANEL[1]
    if confusion is not None:
        width, high = picture_size(confusion.numbers)
        if high > PANEL[1] * len(names):  # a large matrix: the curves are stacked at its left
            panels, widths = [[k, MATRIX] for k in range(len(names))], [PANEL[0], width]
        else:
            panels, widths = [[*panels[0], MATRIX]], [*widths, width]
        height = max(height, high)
    picture = new_picture(sum(widths), height)
    picture.suptitle(title, fontsize="medium", parse_math=False)
    axes = picture.subplot_mosaic(panels, width_ratios=widths)
    epoch = history.best_epoch() if "val_loss" in history else None
    best = None if epoch is None else Best(epoch, "val_loss")
    drawn = [axes[k] for k in range(len(names))]
    draw_curves(history, names, drawn, best=best, held_out=result.test)
    if confusion is not None:
        draw_confusion(confusion.numbers, axes[MATRIX])
    save_picture(picture, path)

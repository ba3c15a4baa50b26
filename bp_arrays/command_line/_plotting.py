"""The picture of a training: its curves and, of a classification, which classes it confuses."""

from __future__ import annotations

from pathlib import Path

from bp_arrays.command_line._training_job import Outcome
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
"""Where the confusion matrix is drawn; the curves are in the panels from 0."""


def check_plot(path: Path) -> None:
    """Raise unless such a picture can be drawn: called before the training.

    Raises
    ------
    MissingExtraError
        If Matplotlib is not installed.
    InputError
        If the end of the name is no kind of picture.
    """
    try:
        check_picture(path)
    except InputError as error:
        raise InputError(f"--plot {error}") from None


def plot(outcome: Outcome, title: str, path: Path) -> None:
    """Draw the history, the held-out values as levels in it, and the confusion matrix beside."""
    history, confusion = outcome.history, outcome.confusion
    names = panel_names(history) if history.epochs else ["loss"]  # Ctrl-C before the first ended
    panels, widths, height = [list(range(len(names)))], [PANEL[0]] * len(names), PANEL[1]
    if confusion is not None:
        width, high = picture_size(confusion.numbers)
        if high > PANEL[1] * len(names):  # a large matrix has the curves above each other beside it
            panels, widths = [[k, MATRIX] for k in range(len(names))], [PANEL[0], width]
        else:
            panels, widths = [[*panels[0], MATRIX]], [*widths, width]
        height = max(height, high)
    picture = new_picture(sum(widths), height)
    picture.suptitle(title, fontsize="medium", parse_math=False)
    axes = picture.subplot_mosaic(panels, width_ratios=widths)
    best = Best(history.best_epoch(), "val_loss") if "val_loss" in history else None
    drawn = [axes[k] for k in range(len(names))]
    draw_curves(history, names, drawn, best=best, held_out=outcome.test)
    if confusion is not None:
        draw_confusion(confusion.numbers, axes[MATRIX])
    save_picture(picture, path)

"""The picture of a training: its curves and, of a classification, which classes it confuses."""

from __future__ import annotations

from pathlib import Path

from bp_arrays.command_line.job import Outcome
from bp_arrays.errors import InputError
from bp_arrays.seeing.confusion_picture import draw_confusion, picture_size
from bp_arrays.seeing.curves import PANEL, Best, draw_curves, panel_names
from bp_arrays.seeing.saving import check_picture, new_picture, save_picture


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
    widths, height = [PANEL[0]] * len(names), PANEL[1]
    if confusion is not None:
        width, high = picture_size(confusion)
        widths, height = [*widths, width], max(height, high)
    picture = new_picture(sum(widths), height)
    picture.suptitle(title, fontsize="medium", parse_math=False)
    axes = picture.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
    best = Best(history.best_epoch(), "val_loss") if "val_loss" in history else None
    draw_curves(history, names, axes[: len(names)], best=best, held_out=outcome.test)
    if confusion is not None:
        draw_confusion(confusion, axes[-1])
    save_picture(picture, path)

"""Draw from plain numbers: curves, confusion matrices, training health."""

from bp_arrays.plots._confusion import (
    ConfusionCounts,
    confusion_picture,
    draw_confusion,
    picture_size,
)
from bp_arrays.plots._curves import PANEL, Best, curves, draw_curves, panel_names
from bp_arrays.plots._health import draw_health
from bp_arrays.plots._notebook import in_notebook
from bp_arrays.plots._saving import check_picture, new_picture, save_picture
from bp_arrays.plots._training_page import TrainingPage

__all__ = [
    "PANEL",
    "Best",
    "ConfusionCounts",
    "TrainingPage",
    "check_picture",
    "confusion_picture",
    "curves",
    "draw_confusion",
    "draw_curves",
    "draw_health",
    "in_notebook",
    "new_picture",
    "panel_names",
    "picture_size",
    "save_picture",
]

"""The picture of a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.plots._saving import new_picture
from bp_arrays.typing import HostArray

CELL = 0.38
"""Width and height of a cell in inches, while there are few."""

SMALLEST, LARGEST = 1.5, 8.0
"""Inches of the whole matrix."""

COUNTED = 30
"""Classes up to which each cell has its count written in it; above, only its shade."""

LABELLED = 60
"""Classes up to which each has its name at the side."""

LONGEST = 22
"""Letters of a class's name that are shown."""


@dataclass(frozen=True, eq=False)
class ConfusionCounts:
    """The numbers of a confusion matrix, ready to be drawn.

    Parameters
    ----------
    counts : int array (classes, classes)
        Row: the true class; column: the predicted one.
    classes : sequence of str
        Their names.
    recall, precision : arrays (classes,)
        Of each class; NaN where there is none.
    """

    counts: HostArray
    classes: Sequence[str]
    recall: HostArray
    precision: HostArray


def picture_size(matrix: ConfusionCounts) -> tuple[float, float]:
    """Width and height in inches, with room for the names."""
    side = _side(len(matrix.classes))
    letters = 0.085 * max(len(_short(name)) for name in matrix.classes)
    return side + letters + 1.2, side + (letters if _slanted(matrix) else 0.1) + 1.2


def confusion_picture(matrix: ConfusionCounts) -> Any:
    """The matrix in a picture of its own."""
    picture = new_picture(*picture_size(matrix))
    draw_confusion(matrix, picture.subplots())
    return picture


def draw_confusion(matrix: ConfusionCounts, ax: Any) -> None:
    """Draw into Axes: cells with counts, recall at the right, precision at the top.

    A cell's shade is its share of the row, the true class, so that small classes are seen too;
    the root of it, so that a few confusions among many samples are.
    """
    counts = matrix.counts
    n = len(matrix.classes)
    shades = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    ax.imshow(shades, cmap="Blues", vmin=0.0, vmax=1.0, aspect="equal")
    if n <= COUNTED:
        width = 72.0 * _side(n) / n / len(str(counts.max()))  # of a digit that fills its cell
        size = float(np.clip(width, 4.0, 9.0))
        for i, j in zip(*np.nonzero(counts), strict=True):
            ax.text(
                j,
                i,
                str(counts[i, j]),
                ha="center",
                va="center",
                fontsize=size,
                color="white" if shades[i, j] > 0.6 else "black",
            )
    _set_names(matrix, ax)
    if n <= COUNTED:
        _set_shares(matrix, ax)
    for spine in ax.spines.values():
        spine.set_linewidth(0.6)


def _set_names(matrix: ConfusionCounts, ax: Any) -> None:
    names = [_short(name) for name in matrix.classes]
    every = -(-len(names) // LABELLED)
    at = range(0, len(names), every)
    size = "small" if len(names) <= COUNTED else "xx-small"
    ax.set_xticks(
        at,
        names[::every],
        fontsize=size,
        parse_math=False,
        **({"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if _slanted(matrix) else {}),
    )
    ax.set_yticks(at, names[::every], fontsize=size, parse_math=False)
    ax.tick_params(length=0)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")


def _set_shares(matrix: ConfusionCounts, ax: Any) -> None:
    """Recall at the right of each row, precision above each column."""
    n = len(matrix.classes)
    size = "x-small" if n <= 12 else "xx-small"
    right, top = ax.secondary_yaxis("right"), ax.secondary_xaxis("top")
    for side, axis, name, values in (
        (right, right.yaxis, "recall, %", matrix.recall),
        (top, top.xaxis, "precision, %", matrix.precision),
    ):
        labels = ["–" if np.isnan(value) else f"{100.0 * value:.0f}" for value in values]
        axis.set_ticks(range(n), labels)
        axis.set_label_text(name, fontsize="small")
        side.tick_params(length=0, labelsize=size)
        for spine in side.spines.values():
            spine.set_visible(False)


def _slanted(matrix: ConfusionCounts) -> bool:
    """Whether the names are too long to stand side by side under their columns."""
    n = len(matrix.classes)
    return max(len(_short(name)) for name in matrix.classes) * 0.075 > _side(n) / n


def _side(n: int) -> float:
    """Inches of a matrix of n classes."""
    return float(np.clip(CELL * n, SMALLEST, LARGEST))


def _short(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"

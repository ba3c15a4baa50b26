"""Figure of a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.plots._saving import new_picture
from bp_arrays.typing import HostArray

CELL = 0.38
"""Width and height of a cell in inches, as long as the matrix fits."""

SMALLEST, LARGEST = 1.5, 8.0
"""Bounds of the side of the matrix in inches."""

COUNTED = 30
"""Number of classes up to which the cells show their counts, not only a shade."""

LABELLED = 60
"""Number of classes up to which each has a label."""

LONGEST = 22
"""Letters of a class name that are shown."""


@dataclass(frozen=True, eq=False)
class ConfusionCounts:
    """The numbers of a confusion matrix that are drawn.

    Parameters
    ----------
    counts : int array (classes, classes)
        Row: the true class; column: the predicted one.
    classes : sequence of str
        Class names.
    recall, precision : arrays (classes,)
        For each class; NaN where it is undefined.
    """

    counts: HostArray
    classes: Sequence[str]
    recall: HostArray
    precision: HostArray

    @property
    def f1(self) -> HostArray:
        """F1 of each class: the harmonic mean of precision and recall, 2·tp / (2·tp + fp + fn)."""
        both = self.counts.sum(axis=0) + self.counts.sum(axis=1)
        double = 2.0 * self.counts.diagonal()
        return np.asarray(np.divide(double, both, out=np.full(len(both), np.nan), where=both > 0))


def picture_size(matrix: ConfusionCounts) -> tuple[float, float]:
    """Return width and height in inches, with room for the class names."""
    side = _side(len(matrix.classes))
    letters = 0.085 * max(len(_short(name)) for name in matrix.classes)
    return side + letters + 1.2, side + (letters if _slanted(matrix) else 0.1) + 1.2


def confusion_picture(matrix: ConfusionCounts) -> Any:
    """Draw the matrix in a new figure."""
    picture = new_picture(*picture_size(matrix))
    draw_confusion(matrix, picture.subplots())
    return picture


def draw_confusion(matrix: ConfusionCounts, ax: Any) -> None:
    """Draw the matrix into Axes: counts in the cells, recall at the right, precision at the top.

    The shade of a cell is the square root of its fraction of the row, the true class: so that
    small classes and rare confusions are visible.
    """
    counts = matrix.counts
    n = len(matrix.classes)
    shades = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    ax.imshow(shades, cmap="Blues", vmin=0.0, vmax=1.0, aspect="equal")
    if n <= COUNTED:
        width = 72.0 * _side(n) / n / len(str(counts.max()))  # of a digit, if it fills its cell
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
        _set_rates(matrix, ax)
    for spine in ax.spines.values():
        spine.set_linewidth(0.6)


def _set_names(matrix: ConfusionCounts, ax: Any) -> None:
    names = [_short(name) for name in matrix.classes]
    stride = -(-len(names) // LABELLED)
    ticks, labels = range(0, len(names), stride), names[::stride]
    size = "small" if len(names) <= COUNTED else "xx-small"
    slant: dict[str, Any] = {}
    if _slanted(matrix):
        slant = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(ticks, labels, fontsize=size, parse_math=False, **slant)
    ax.set_yticks(ticks, labels, fontsize=size, parse_math=False)
    ax.tick_params(length=0)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")


def _set_rates(matrix: ConfusionCounts, ax: Any) -> None:
    """Label each row with its recall and each column with its precision."""
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
    """Return whether the names are too long to be written horizontally under their columns."""
    n = len(matrix.classes)
    return max(len(_short(name)) for name in matrix.classes) * 0.075 > _side(n) / n


def _side(n: int) -> float:
    """Return the side in inches of a matrix of n classes."""
    return float(np.clip(CELL * n, SMALLEST, LARGEST))


def _short(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"

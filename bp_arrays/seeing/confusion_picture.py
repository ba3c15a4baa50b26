"""The picture of a confusion matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bp_arrays.seeing.saving import new_picture

if TYPE_CHECKING:
    from bp_arrays.seeing.confusion import ConfusionMatrix

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


def picture_size(matrix: ConfusionMatrix) -> tuple[float, float]:
    """Width and height in inches, with room for the names."""
    side = _side(len(matrix.classes))
    letters = 0.085 * max(len(_short(name)) for name in matrix.classes)
    return side + letters + 1.2, side + (letters if _slanted(matrix) else 0.1) + 1.2


def confusion_picture(matrix: ConfusionMatrix) -> Any:
    """The matrix in a picture of its own."""
    picture = new_picture(*picture_size(matrix))
    draw_confusion(matrix, picture.subplots())
    return picture


def draw_confusion(matrix: ConfusionMatrix, ax: Any) -> None:
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


def _set_names(matrix: ConfusionMatrix, ax: Any) -> None:
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


def _set_shares(matrix: ConfusionMatrix, ax: Any) -> None:
    """Recall at the right of each row, precision above each column."""
    n = len(matrix.classes)
    size = "x-small" if n <= 12 else "xx-small"
    for side, name, values in (
        (ax.secondary_yaxis("right"), "recall, %", matrix.recall),
        (ax.secondary_xaxis("top"), "precision, %", matrix.precision),
    ):
        labels = ["–" if np.isnan(value) else f"{100.0 * value:.0f}" for value in values]
        (side.set_yticks if name.startswith("recall") else side.set_xticks)(range(n), labels)
        (side.set_ylabel if name.startswith("recall") else side.set_xlabel)(name, fontsize="small")
        side.tick_params(length=0, labelsize=size)
        for spine in side.spines.values():
            spine.set_visible(False)


def _slanted(matrix: ConfusionMatrix) -> bool:
    """Whether the names are too long to stand side by side under their columns."""
    n = len(matrix.classes)
    return max(len(_short(name)) for name in matrix.classes) * 0.075 > _side(n) / n


def _side(n: int) -> float:
    """Inches of a matrix of n classes."""
    return float(np.clip(CELL * n, SMALLEST, LARGEST))


def _short(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"

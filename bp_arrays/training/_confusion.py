"""`ConfusionMatrix`: counts of true and predicted classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.checks import array_error
from bp_arrays.inputs import as_numpy
from bp_arrays.plots import ConfusionCounts
from bp_arrays.typing import HostArray

WIDEST = 20
"""Number of classes above which the text lists the most frequent confusions instead."""

SHOWN = 10
"""Number of confusions in that list."""

SHORT = 6
"""Length of class names up to which they head their columns; longer ones are numbered."""


@dataclass(frozen=True, eq=False, repr=False)
class ConfusionMatrix:
    """A confusion matrix: the number of samples of each class predicted as each class.

    Parameters
    ----------
    counts : int array (classes, classes)
        Row: the true class; column: the predicted one.
    classes : tuple of str
        Class names.

    Examples
    --------
    >>> print(ConfusionMatrix.of([0, 0, 1, 1], [0, 1, 1, 1], ("cat", "dog")))
               predicted
    true       cat  dog  recall
    cat          1    1   50.0%
    dog          .    2  100.0%
    precision 100%  67%
    F1         67%  80%
    """

    counts: HostArray
    classes: tuple[str, ...]

    @classmethod
    def of(cls, t: Any, predicted: Any, classes: Sequence[str]) -> ConfusionMatrix:
        """Count pairs of true and predicted classes, arrays (samples,) of numbers from 0.

        Raises
        ------
        InputError
            If an array is not one-dimensional, a class is not a whole number from 0 to
            len(classes) − 1, or the numbers of samples differ.
        """
        n = len(classes)
        true, guessed = _numbers("t", t, n), _numbers("predicted", predicted, n)
        if true.shape != guessed.shape:
            raise array_error(
                "ConfusionMatrix.of", "predicted", f"shape {true.shape}", guessed.shape
            )
        pairs = true * n + guessed
        return cls(np.bincount(pairs, minlength=n * n).reshape(n, n), tuple(map(str, classes)))

    @property
    def recall(self) -> HostArray:
        """Recall: the fraction of each class's samples that were predicted as it, or NaN."""
        return _fraction(self.counts.diagonal(), self.counts.sum(axis=1))

    @property
    def precision(self) -> HostArray:
        """Precision: the fraction of predictions of each class that are correct, or NaN."""
        return _fraction(self.counts.diagonal(), self.counts.sum(axis=0))

    @property
    def f1(self) -> HostArray:
        """F1: the harmonic mean of precision and recall of each class, or NaN."""
        return self.numbers.f1

    def to_json(self) -> dict[str, Any]:
        """Return plain lists by name."""
        return {
            "classes": list(self.classes),
            "counts": self.counts.tolist(),
            "precision": self.precision.tolist(),
            "recall": self.recall.tolist(),
            "f1": self.f1.tolist(),
        }

    def plot(self, *, ax: Any = None, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw the matrix, darker for a larger fraction of the true class (extra: plot).

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw into; by default in a new figure.
        path : path, optional
            File to write the figure to: .png, .pdf, .svg, .jpg or .webp.

        Returns
        -------
        matplotlib Figure
            Or `ax`, if it was passed.
        """
        from bp_arrays.plots import check_picture, confusion_picture, draw_confusion, save_picture

        numbers = self.numbers
        if path is not None:
            check_picture(path)
        if ax is None:
            drawn = figure = confusion_picture(numbers)
        else:
            draw_confusion(numbers, ax)
            drawn, figure = ax, ax.figure
        if path is not None:
            save_picture(figure, path)
        return drawn

    @property
    def numbers(self) -> ConfusionCounts:
        """The numbers that are drawn."""
        return ConfusionCounts(self.counts, self.classes, self.recall, self.precision)

    def __str__(self) -> str:
        return self._table() if len(self.classes) <= WIDEST else self._most_confused()

    __repr__ = __str__

    def _table(self) -> str:
        names = [" ".join(name.split()) for name in self.classes]
        heads = names
        if max(map(len, names)) > SHORT:
            heads = [str(k) for k in range(1, len(names) + 1)]
            names = [f"{head} {name}" for head, name in zip(heads, names, strict=True)]
        counts = [[str(n) if n else "." for n in row] for row in self.counts.tolist()]
        precision = [_percent(p, 0) for p in self.precision.tolist()]
        left = max(map(len, ("precision", *names)))
        wide = max(map(len, (*heads, *precision, *(cell for row in counts for cell in row))))

        def line(first: str, cells: Sequence[str], last: str = "") -> str:
            middle = "".join(f" {cell:>{wide}}" for cell in cells)
            return f"{first:<{left}}{middle}{last:>8}".rstrip()

        rows = zip(names, counts, self.recall.tolist(), strict=True)
        return "\n".join(
            [
                f"{'':<{left}} predicted",
                line("true", heads, "recall"),
                *(line(name, row, _percent(recall, 1)) for name, row, recall in rows),
                line("precision", precision),
                line("F1", [_percent(f, 0) for f in self.f1.tolist()]),
            ]
        )

    def _most_confused(self) -> str:
        wrong = self.counts - np.diag(self.counts.diagonal())
        order = np.argsort(-wrong, axis=None, kind="stable")[:SHOWN]
        pairs = [divmod(int(k), len(self.classes)) for k in order if wrong.flat[k]]
        lines = [
            f"  {self.classes[i]} predicted as {self.classes[j]}: {wrong[i, j]} of "
            f"{self.counts[i].sum()}"
            for i, j in pairs
        ]
        return "\n".join(
            [f"{len(self.classes)} classes; most frequent confusions:", *(lines or ["  none"])]
        )


def _numbers(name: str, values: Any, classes: int) -> HostArray:
    """Return class numbers (samples,) as int64, checked."""
    array = as_numpy(values, name)
    if array.ndim != 1:
        raise array_error("ConfusionMatrix.of", name, "shape (samples,)", array.shape)
    wrong = array[(array < 0) | (array >= classes) | (array != np.floor(array))]
    if len(wrong):
        expected = f"whole numbers from 0 to {classes - 1}"
        raise array_error("ConfusionMatrix.of", name, expected, wrong[0])
    return array.astype(np.int64)


def _fraction(part: HostArray, whole: HostArray) -> HostArray:
    return np.asarray(np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0))


def _percent(fraction: float, digits: int) -> str:
    return "-" if np.isnan(fraction) else f"{fraction:.{digits}%}"

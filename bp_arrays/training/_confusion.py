"""The confusion matrix: how often each class is predicted as each other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.plots import ConfusionCounts
from bp_arrays.typing import HostArray

WIDEST = 20
"""Of more classes the text shows the most frequent confusions instead of the whole matrix."""

SHOWN = 10
"""How many of those."""

SHORT = 6
"""Class names up to this length head their columns themselves; longer ones are numbered."""


@dataclass(frozen=True, eq=False, repr=False)
class ConfusionMatrix:
    """A confusion matrix: how many samples of each class were predicted as each class.

    Parameters
    ----------
    counts : int array (classes, classes)
        Row: the true class; column: the predicted one.
    classes : tuple of str
        Their names.

    Examples
    --------
    >>> print(ConfusionMatrix.of([0, 0, 1, 1], [0, 1, 1, 1], ("cat", "dog")))
               predicted
    true       cat  dog  recall
    cat          1    1   50.0%
    dog          .    2  100.0%
    precision 100%  67%
    """

    counts: HostArray
    classes: tuple[str, ...]

    @classmethod
    def of(cls, t: Any, predicted: Any, classes: Sequence[str]) -> ConfusionMatrix:
        """Count the pairs of true and predicted classes, given as numbers from 0, (samples,)."""
        n = len(classes)
        pairs = np.asarray(t, dtype=np.int64) * n + np.asarray(predicted, dtype=np.int64)
        return cls(np.bincount(pairs, minlength=n * n).reshape(n, n), tuple(map(str, classes)))

    @property
    def recall(self) -> HostArray:
        """Of each class's samples the share that was found; NaN for a class without samples."""
        return _share(self.counts.diagonal(), self.counts.sum(axis=1))

    @property
    def precision(self) -> HostArray:
        """Of what was taken for each class the share that is; NaN for one never predicted."""
        return _share(self.counts.diagonal(), self.counts.sum(axis=0))

    def to_json(self) -> dict[str, Any]:
        """As plain lists by name."""
        return {
            "classes": list(self.classes),
            "counts": self.counts.tolist(),
            "precision": self.precision.tolist(),
            "recall": self.recall.tolist(),
        }

    def plot(self, *, ax: Any = None, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw the matrix; darker is a larger share of the true class. Needs the extra `plot`.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default in a new figure.
        path : path, optional
            Where to write the picture: .png, .pdf, .svg, .jpg or .webp.

        Returns
        -------
        matplotlib Figure
            Or `ax`, if it was handed in.
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
        """The plain numbers, as `plots` draws them."""
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
            ]
        )

    def _most_confused(self) -> str:
        wrong = self.counts - np.diag(self.counts.diagonal())
        order = np.argsort(-wrong, axis=None, kind="stable")[:SHOWN]
        pairs = [divmod(int(at), len(self.classes)) for at in order if wrong.flat[at]]
        lines = [
            f"  {self.classes[i]} taken for {self.classes[j]}: {wrong[i, j]} of "
            f"{self.counts[i].sum()}"
            for i, j in pairs
        ]
        return "\n".join(
            [f"{len(self.classes)} classes; most often confused:", *(lines or ["  none"])]
        )


def _share(part: HostArray, whole: HostArray) -> HostArray:
    return np.asarray(np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0))


def _percent(share: float, digits: int) -> str:
    return "-" if np.isnan(share) else f"{share:.{digits}%}"

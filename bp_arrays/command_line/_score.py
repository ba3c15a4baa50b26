"""How predictions compare with the targets, where the data has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.command_line._schema import Meaning
from bp_arrays.readers import Dataset
from bp_arrays.training import ConfusionMatrix
from bp_arrays.typing import HostArray


@dataclass(frozen=True, eq=False)
class Quality:
    """What is known of the quality of predictions.

    Parameters
    ----------
    words : str
        To stand behind "predicted 10 rows".
    values : dict of str to float
        "accuracy", or "mean_squared_error".
    confusion : ConfusionMatrix, or None
        Of classes; one that the model does not know has a row, and nothing in its column.
    """

    words: str
    values: dict[str, float]
    confusion: ConfusionMatrix | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain values by name."""
        return self.values | {"confusion": self.confusion and self.confusion.to_json()}


def quality_of(y: HostArray, data: Dataset, meaning: Meaning) -> Quality | None:
    """Compare outputs (rows, outputs) with the targets; None where there are none to compare."""
    if data.t is None:
        return None
    if meaning.classes is not None and data.classes is not None:
        return _of_classes(y, data.t, data.classes, meaning)
    if meaning.classes is None and data.classes is None and data.t.shape == y.shape:
        error = float(np.square(y - data.t).mean())
        return Quality(f"mean squared error {error:.4g}", {"mean_squared_error": error})
    return None


def _of_classes(y: HostArray, t: HostArray, names: tuple[str, ...], meaning: Meaning) -> Quality:
    known = meaning.classes
    assert known is not None
    unknown = sorted(set(names) - set(known))
    classes = (*known, *unknown)
    number = np.array([classes.index(name) for name in names])
    predicted = np.argmax(meaning.probabilities(y), axis=1)
    accuracy = float((predicted == number[t]).mean())
    note = f" (classes the model does not know: {', '.join(unknown[:5])})" if unknown else ""
    confusion = ConfusionMatrix.of(number[t], predicted, classes)
    return Quality(f"accuracy {accuracy:.2%}{note}", {"accuracy": accuracy}, confusion)

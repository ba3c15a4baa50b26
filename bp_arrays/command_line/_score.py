"""`Score`: predictions compared with the targets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.command_line._schema import Schema
from bp_arrays.layers import Context
from bp_arrays.losses import Loss, MeanSquaredError
from bp_arrays.readers import Dataset
from bp_arrays.training import ConfusionMatrix
from bp_arrays.typing import HostArray


@dataclass(frozen=True, eq=False)
class Score:
    """The score of predictions.

    Parameters
    ----------
    summary : str
        One phrase, printed after "predicted 10 rows: ".
    values : dict of str to float
        "accuracy", or the loss of the training by its name, such as "mean_squared_error".
    confusion : ConfusionMatrix, or None
        For classes only. A class unknown to the model has a row and an empty column.
    """

    summary: str
    values: dict[str, float]
    confusion: ConfusionMatrix | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values by name."""
        return self.values | {"confusion": self.confusion and self.confusion.to_json()}


def score_predictions(y: HostArray, data: Dataset, schema: Schema) -> Score | None:
    """Compare outputs (rows, outputs) with the targets; None if there are no matching targets."""
    if data.t is None:
        return None
    if schema.classes is not None and data.classes is not None:
        return _of_classes(y, data.t, data.classes, schema)
    if schema.classes is None and data.classes is None and data.t.shape == y.shape:
        return _of_values(y, data.t, schema.loss or MeanSquaredError())
    return None


def _of_values(y: HostArray, t: HostArray, loss: Loss) -> Score:
    with np.errstate(over="ignore", under="ignore"):  # a square beyond float64 is infinite
        error = float(loss.forward(y.astype(np.float64), t.astype(np.float64), Context(np))[0])
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=\d)(?=[A-Z])", " ", type(loss).__name__).lower()
    return Score(f"{words} {error:.4g}", {words.replace(" ", "_"): error})


def _of_classes(y: HostArray, t: HostArray, names: tuple[str, ...], schema: Schema) -> Score:
    known = schema.classes
    assert known is not None
    unknown = sorted(set(names) - set(known))
    classes = (*known, *unknown)
    number = np.array([classes.index(name) for name in names])
    predicted = np.argmax(schema.probabilities(y), axis=1)
    accuracy = float((predicted == number[t]).mean())
    note = f" (classes the model does not know: {', '.join(unknown[:5])})" if unknown else ""
    confusion = ConfusionMatrix.of(number[t], predicted, classes)
    return Score(f"accuracy {accuracy:.2%}{note}", {"accuracy": accuracy}, confusion)

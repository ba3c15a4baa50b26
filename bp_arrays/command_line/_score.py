"""`Score`: predictions compared with the targets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.command_line._schema import Schema
from bp_arrays.command_line._target_units import errors_of
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
    rows : int
        The number of rows that have a target.
    confusion : ConfusionMatrix, or None
        For classes only. A class unknown to the model has a row and an empty column.
    """

    summary: str
    values: dict[str, float]
    rows: int
    confusion: ConfusionMatrix | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values by name."""
        return self.values | {
            "scored_rows": self.rows,
            "confusion": self.confusion and self.confusion.to_json(),
        }


def score_predictions(y: HostArray, data: Dataset, schema: Schema) -> Score | None:
    """Compare outputs (rows, outputs) with the targets; None if there are no matching targets.

    Rows without a target do not count.
    """
    if data.t is None:
        return None
    rows = data.has_target
    y, t = y[rows], data.t[rows]
    where = "" if rows.all() else f" on the {len(t)} of {data.rows} rows that have a target"
    if schema.classes is not None and data.classes is not None:
        return _of_classes(y, t, data.classes, schema, where)
    if schema.classes is None and data.classes is None and t.shape == y.shape:
        y = schema.predictions(y) if schema.loss is None else y
        return _of_values(y, t, schema.loss or MeanSquaredError(), where)
    return None


def _of_values(y: HostArray, t: HostArray, loss: Loss, where: str) -> Score:
    with np.errstate(over="ignore", under="ignore"):  # a square beyond float64 is infinite
        error = float(loss.forward(y.astype(np.float64), t.astype(np.float64), Context(np))[0])
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=\d)(?=[A-Z])", " ", type(loss).__name__).lower()
    values = {words.replace(" ", "_"): error} | errors_of(y, t)
    summary = f"{words} {error:.4g}, RMSE {values['rmse']:.4g}, MAE {values['mae']:.4g}{where}"
    return Score(summary, values, len(t))


def _of_classes(
    y: HostArray, t: HostArray, names: tuple[str, ...], schema: Schema, where: str
) -> Score:
    known = schema.classes
    assert known is not None
    numbers = schema.class_numbers(names)
    unknown = [name for name, number in zip(names, numbers, strict=True) if number is None]
    classes = (*known, *unknown)
    others = iter(range(len(known), len(classes)))
    number = np.array([next(others) if k is None else k for k in numbers])
    predicted = np.argmax(schema.probabilities(y), axis=1)
    accuracy = float((predicted == number[t]).mean())
    note = f" (classes the model does not know: {', '.join(unknown[:5])})" if unknown else ""
    confusion = ConfusionMatrix.of(number[t], predicted, classes)
    summary = f"accuracy {accuracy:.2%}{where}{note}"
    return Score(summary, {"accuracy": accuracy}, len(t), confusion)

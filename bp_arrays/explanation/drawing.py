"""Which units of a net are drawn, in which columns: all of a small one, the strongest of a large.

A column is what goes into a Linear layer, or the output: h after the activation, not a before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bp_arrays.explanation.derivation import Derivation
from bp_arrays.explanation.stages import LinearStage, Vector

MOST_UNITS = 12
"""Units of a column that are drawn; of larger columns the strongest."""


@dataclass
class Column:
    """A column of units.

    Parameters
    ----------
    name, written : str
        "h", and how its values come about.
    size : int
        How many units there are.
    stage : int
        Of which stage they are the output; -1 for the input of the net.
    linear_stage : int or None
        The Linear layer whose weights lead here, if the column before is its input.
    shown : list of int
        Which are drawn, from 0.
    """

    name: str
    written: str
    size: int
    stage: int
    linear_stage: int | None
    shown: list[int] = field(default_factory=list)

    def linear(self, explanation: Derivation) -> LinearStage | None:
        """The layer whose weights lead to this column."""
        if self.linear_stage is None:
            return None
        stage = explanation.stages[self.linear_stage]
        assert isinstance(stage, LinearStage)
        return stage

    def values(self, explanation: Derivation) -> Vector:
        if self.stage < 0:
            return np.ravel(explanation.x)
        return explanation.stages[self.stage].y

    def deltas(self, explanation: Derivation) -> Vector:
        """δ of the units: ∂L/∂a where weights lead here; of the input nothing is asked."""
        if self.linear_stage is None:
            return np.zeros(self.size)
        return explanation.deltas[self.linear_stage]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "written": self.written,
            "size": self.size,
            "shown": [k + 1 for k in self.shown],
            "weights": self.linear_stage is not None,
        }


def columns_of(explanation: Derivation) -> list[Column]:
    """The columns of a net, from the input to the output."""
    stages = explanation.stages
    columns = [Column("x", "the input", explanation.x.size, -1, None)]
    linear: int | None = None
    written: list[str] = []
    for s, stage in enumerate(stages):
        written.append(stage.written)
        if isinstance(stage, LinearStage):
            linear = s
        last = s == len(stages) - 1
        if last or (isinstance(stages[s + 1], LinearStage)):
            columns.append(Column(stage.y_name.text(), ", ".join(written), stage.y.size, s, linear))
            linear, written = None, []
    for k, column in enumerate(columns):
        column.shown = _strongest(explanation, columns, k)
    return columns


def _strongest(explanation: Derivation, columns: list[Column], k: int) -> list[int]:
    """The units that the largest gradients belong to, in their own order."""
    column = columns[k]
    if column.size <= MOST_UNITS:
        return list(range(column.size))
    strength = np.abs(column.values(explanation))
    into, out_of = column.linear(explanation), None
    if k + 1 < len(columns):
        out_of = columns[k + 1].linear(explanation)
    if out_of is not None:
        strength = np.abs(_gradient(explanation, out_of)).sum(axis=1)
    elif into is not None:
        strength = np.abs(_gradient(explanation, into)).sum(axis=0)
    return sorted(np.argsort(-strength, kind="stable")[:MOST_UNITS].tolist())


def _gradient(explanation: Derivation, stage: LinearStage) -> Vector:
    return explanation.gradients[f"{stage.path}.weight" if stage.path else "weight"]

"""Layout of the drawing of a net: a small net completely, of a large one the strongest units.

A column is the input of a Linear layer or of a block, or the output of the net: h after the
activation, not a before it. Weights lead from column to column.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from bp_arrays.explanation._derivation import Derivation
from bp_arrays.explanation._stages import (
    ElementwiseStage,
    LinearStage,
    PassingStage,
    SoftmaxStage,
    Stage,
    Vector,
)

MOST_UNITS = 12
"""Units of a column that are drawn; of larger columns, the strongest ones."""

MOST_OTHERS = 60
"""Weights that are listed although no line is drawn for them, such as those inside a block."""


@dataclass
class Column:
    """A column of units.

    Parameters
    ----------
    name : str
        "h".
    size : int
        Number of units.
    first, last : int
        Numbers of the stages between the previous column and this one; last is -1 for the input.
    stages : list of Stage
        These stages; the first is Linear if weights lead to this column.
    shown : list of int
        Units that are drawn, from 0.
    """

    name: str
    size: int
    first: int
    last: int
    stages: list[Stage]
    shown: list[int] = field(default_factory=list)

    @property
    def linear(self) -> LinearStage | None:
        """The layer whose weights lead to this column."""
        first = self.stages[0] if self.stages else None
        return first if isinstance(first, LinearStage) else None

    @property
    def mixes(self) -> bool:
        """True if a unit depends on more than its own sum: after softmax, after a block."""
        return any(s.abbreviated or isinstance(s, SoftmaxStage) for s in self.stages)

    def outputs(self, explanation: Derivation) -> Vector:
        return np.ravel(explanation.x) if self.last < 0 else explanation.stages[self.last].y

    def sums(self, explanation: Derivation) -> Vector | None:
        """Return a, unless it is the output itself."""
        stages = explanation.stages[self.first : self.last + 1]
        return stages[0].y if self.linear is not None and len(stages) > 1 else None

    def slopes(self, explanation: Derivation) -> Vector | None:
        """Return h'(a), if a single activation follows the weights."""
        stages = explanation.stages[self.first : self.last + 1]
        after = [stage for stage in stages[1:] if not isinstance(stage, PassingStage)]
        if self.linear is None or len(after) != 1 or not isinstance(after[0], ElementwiseStage):
            return None
        return after[0].slopes()

    def deltas(self, explanation: Derivation) -> Vector | None:
        """Return δ = ∂L/∂a of the units, if weights lead to them."""
        return explanation.deltas[self.first] if self.linear is not None else None


@dataclass(frozen=True)
class DrawnWeight:
    """A weight or bias on the page.

    Parameters
    ----------
    symbol : str
        "w₁₁".
    parameter : str
        "0.weight".
    at : tuple of int
        Its indices, from 1.
    column, start, end : int or None
        The column it leads to, and the positions of its units in the columns; a bias has no
        start, a weight without a line has none of them.
    """

    symbol: str
    parameter: str
    at: tuple[int, ...]
    column: int | None = None
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True)
class Drawing:
    """The columns of a net and the weights that are shown.

    Parameters
    ----------
    columns : list of Column
        From the input to the output.
    weights : list of DrawnWeight
        Weights with a line first, then biases, then others.
    omitted : int
        Number of trained weights and biases that are not shown.
    """

    columns: list[Column]
    weights: list[DrawnWeight]
    omitted: int


def drawing_of(explanation: Derivation) -> Drawing:
    """Select the columns and weights of a net that are drawn."""
    columns = _columns(explanation)
    weights = [*_edges(columns), *_biases(columns)]
    linears = {id(column.linear) for column in columns}
    drawn_whole = {
        stage.parameter(leaf)
        for stage in explanation.stages
        if id(stage) in linears
        for leaf in stage.params
    }
    others = (
        (name, tuple(i + 1 for i in at))
        for name, gradient in explanation.gradients.items()
        if name not in drawn_whole
        for at in np.ndindex(gradient.shape)
    )
    for name, at in itertools.islice(others, MOST_OTHERS):
        weights.append(DrawnWeight(explanation.weight(name, *at).weight.text, name, at))
    total = sum(gradient.size for gradient in explanation.gradients.values())
    return Drawing(columns, weights, total - len(weights))


def _columns(explanation: Derivation) -> list[Column]:
    stages = explanation.stages
    columns = [Column("x", explanation.x.size, 0, -1, [])]
    start = 0
    for s, stage in enumerate(stages):
        last = s == len(stages) - 1
        follower = None if last else stages[s + 1]
        if follower and not (follower.abbreviated or isinstance(follower, LinearStage)):
            continue
        part = stages[start : s + 1]
        if last or any(not isinstance(stage, PassingStage) for stage in part):
            columns.append(Column(stage.y_name.text(), stage.y.size, start, s, part))
        start = s + 1
    for k in reversed(range(len(columns))):
        columns[k].shown = _strongest(explanation, columns, k)
    return columns


def _strongest(explanation: Derivation, columns: list[Column], k: int) -> list[int]:
    """Return the units with the largest gradients, in ascending order."""
    column = columns[k]
    after = columns[k + 1] if k + 1 < len(columns) else None
    if column.size <= MOST_UNITS:
        return list(range(column.size))
    into, out_of = column.linear, after.linear if after else None
    if out_of is not None:
        strength = np.abs(explanation.gradients[out_of.parameter("weight")]).sum(axis=1)
    elif after is not None and after.size == column.size and not after.mixes:
        return after.shown
    elif into is not None:
        strength = np.abs(explanation.gradients[into.parameter("weight")]).sum(axis=0)
    else:
        strength = np.abs(column.outputs(explanation))
    return sorted(np.argsort(-strength, kind="stable")[:MOST_UNITS].tolist())


def _edges(columns: list[Column]) -> Iterator[DrawnWeight]:
    for c, (left, right) in enumerate(itertools.pairwise(columns), start=1):
        if right.linear is None:
            continue
        name = right.linear.parameter("weight")
        for (start, i), (end, j) in itertools.product(
            enumerate(left.shown), enumerate(right.shown)
        ):
            symbol = right.linear.weight_symbol(i, j).text
            yield DrawnWeight(symbol, name, (i + 1, j + 1), c, start, end)


def _biases(columns: list[Column]) -> Iterator[DrawnWeight]:
    for c, column in enumerate(columns):
        if column.linear is None or "bias" not in column.linear.params:
            continue
        for end, j in enumerate(column.shown):
            symbol = column.linear.bias_symbol(j).text
            yield DrawnWeight(symbol, column.linear.parameter("bias"), (j + 1,), c, None, end)

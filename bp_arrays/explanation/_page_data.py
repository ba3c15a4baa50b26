"""Data of the page: the net once, and the numbers of each recorded frame.

A formula is a list of indices into one table of pieces, which all formulas share; a piece is text,
or [name] of a symbol, whose value is in the frame. The formulas are a table too, since most are the
same in all frames: a derivation then takes little more space than its results.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bp_arrays.explanation._derivation import Derivation
from bp_arrays.explanation._drawing import Column, Drawing, DrawnWeight
from bp_arrays.explanation._expression import Symbol, Term
from bp_arrays.explanation._images import images_of
from bp_arrays.explanation._notation import loss_formula
from bp_arrays.explanation._stages import LinearStage, Vector
from bp_arrays.explanation._text import CORRECTIONS
from bp_arrays.explanation._weight_explanation import WeightExplanation, shown_fully

BINS = 21

Formula = list[int | list[float]]


class PageData:
    """Collect the frames of a training run, and return everything as JSON values."""

    def __init__(self, explanation: Derivation, drawing: Drawing, caption: str) -> None:
        self.explanation, self.drawing, self.caption = explanation, drawing, caption
        self.pieces: list[str | list[str]] = []
        self.piece_indices: dict[str | tuple[str], int] = {}
        self.formulas: list[Formula] = []
        self.formula_indices: dict[str, int] = {}
        self.frames: list[dict[str, Any]] = []

    def add(self, epoch: int, derivation: Derivation) -> None:
        """Add a frame: values, δ, gradients, and every derivation with its numbers."""
        columns, weights = self.drawing.columns, self.drawing.weights
        values: dict[int, float] = {}
        rules = [derivation.weight(weight.parameter, *weight.at) for weight in weights]
        where = {name: term for rule in rules for name, term in rule.where.items()}
        self.frames.append(
            {
                "epoch": epoch,
                "loss": _short(derivation.loss_value),
                "columns": [_numbers(column, derivation) for column in columns],
                "targets": _shown(columns[-1], _targets(derivation)),
                "weights": [_short(rule.weight.value) for rule in rules],
                "gradients": [_short(rule.computed) for rule in rules],
                "rules": [self._rule(rule, values) for rule in rules],
                "where": {
                    name: [self._formula(term, values), _short(term.value)]
                    for name, term in where.items()
                },
                "values": values,
            }
        )

    def to_json(self) -> dict[str, Any]:
        """Return the net and all frames as JSON values."""
        explanation, drawing = self.explanation, self.drawing
        return {
            "columns": self._columns(),
            "weights": [_weight(weight) for weight in drawing.weights],
            "leftOut": drawing.omitted,
            "pieces": self.pieces,
            "formulas": self.formulas,
            "frames": self.frames,
            "recorded": self.caption,
            "histograms": _histograms(explanation) if drawing.omitted else [],
            "eta": explanation.eta,
            "loss": loss_formula(explanation.loss),
            "net": ["x", *(values.written for values in explanation.layers)],
            "notes": CORRECTIONS.replace("\n", " ") if explanation.follows_notes else "",
            "image": images_of(explanation),
        }

    def _columns(self) -> list[dict[str, Any]]:
        """Describe the columns, the first and the last with the names of their units."""
        columns = [_column(column) for column in self.drawing.columns]
        named = {0: self.explanation.input_names, -1: self.explanation.output_names}
        for k, names in named.items():
            if len(names) == self.drawing.columns[k].size:
                columns[k]["units"] = [names[unit] for unit in self.drawing.columns[k].shown]
        return columns

    def _rule(self, rule: WeightExplanation, values: dict[int, float]) -> dict[str, Any]:
        return {
            "formula": self._formula(rule.expression, values),
            "where": list(rule.where),
            "value": shown_fully(rule.value),
            "computed": shown_fully(rule.computed),
            "numeric": shown_fully(rule.numeric),
            "updated": shown_fully(rule.updated, 6),
        }

    def _formula(self, term: Term, values: dict[int, float]) -> int:
        """Return the index of a formula in the table.

        A symbol is stored with its value if its name is ambiguous, as in "(3 smaller terms)".
        """
        formula: Formula = []
        text = ""
        for token in [*term.tokens(), ""]:
            if isinstance(token, str) and token:
                text += token
                continue
            if text:
                formula.append(self._piece_index(text))
                text = ""
            if isinstance(token, Symbol):
                index, value = self._piece_index((token.text,)), _short(token.value)
                is_unique = values.setdefault(index, value) == value
                formula.append(index if is_unique else [index, value])
        key = str(formula)
        if key not in self.formula_indices:
            self.formula_indices[key] = len(self.formulas)
            self.formulas.append(formula)
        return self.formula_indices[key]

    def _piece_index(self, piece: str | tuple[str]) -> int:
        if piece not in self.piece_indices:
            self.piece_indices[piece] = len(self.pieces)
            self.pieces.append(piece if isinstance(piece, str) else list(piece))
        return self.piece_indices[piece]


def _column(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "size": column.size,
        "shown": [k + 1 for k in column.shown],
        "sum": column.linear.y_name.text() if column.linear else "",
        "delta": column.linear.delta_name.text() if column.linear else "",
        "layers": [type(stage.layer).__name__ for stage in column.stages],
        "mixes": column.mixes,
    }


def _weight(weight: DrawnWeight) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": weight.symbol,
        "parameter": [weight.parameter, *weight.at],
    }
    line = {"column": weight.column, "from": weight.start, "to": weight.end}
    return data | {key: position for key, position in line.items() if position is not None}


def _numbers(column: Column, derivation: Derivation) -> dict[str, list[float]]:
    """Return the numbers of a column's units; without a if it is the output itself."""
    numbers = {
        "y": column.outputs(derivation),
        "a": column.sums(derivation),
        "slope": column.slopes(derivation),
        "delta": column.deltas(derivation),
    }
    return {key: _shown(column, v) for key, v in numbers.items() if v is not None}


def _targets(explanation: Derivation) -> Vector:
    t = np.ravel(explanation.t)
    size = int(np.prod(explanation.model.output_shape))
    return t if t.size == size else np.eye(size)[int(t[0])]


def _histograms(explanation: Derivation) -> list[dict[str, Any]]:
    """Return a histogram of the gradients of each weight matrix."""
    histograms = []
    for stage in explanation.stages:
        if not isinstance(stage, LinearStage):
            continue
        name = stage.parameter("weight")
        g = np.ravel(explanation.gradients[name])
        reach = float(np.max(np.abs(g))) or 1.0
        counts, _ = np.histogram(g, bins=BINS, range=(-reach, reach))
        histograms.append(
            {
                "name": name,
                "symbol": stage.weight_name.text(),
                "reach": _short(reach),
                "counts": counts.tolist(),
                "size": int(g.size),
            }
        )
    return histograms


def _shown(column: Column, values: Vector) -> list[float]:
    return [_short(value) for value in values[column.shown]]


def _short(value: float) -> float:
    """Round to six digits, as many as the page shows."""
    return float(f"{float(value):.6g}")

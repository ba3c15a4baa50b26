"""What the page shows, as data: the net once, and for each recorded moment its numbers.

A formula is sent as a list of places in one table of pieces, which all formulas share; a piece is
text, or [name] of a symbol, whose value the moment holds. The formulas are a table too, since most
stay the same from moment to moment: so a derivation costs little more than its results.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bp_arrays.explanation._derivation import Derivation
from bp_arrays.explanation._drawing import Column, Drawing, DrawnWeight
from bp_arrays.explanation._expression import Symbol, Term
from bp_arrays.explanation._notation import loss_formula
from bp_arrays.explanation._stages import LinearStage, Vector
from bp_arrays.explanation._text import CORRECTIONS
from bp_arrays.explanation._weight_explanation import WeightExplanation, shown_fully

BINS = 21

Formula = list[int | list[float]]


class PageData:
    """Gathers the moments of a training, then gives everything as JSON takes it."""

    def __init__(self, explanation: Derivation, drawing: Drawing, recorded: str) -> None:
        self.explanation, self.drawing, self.recorded = explanation, drawing, recorded
        self.pieces: list[str | list[str]] = []
        self.places: dict[str | tuple[str], int] = {}
        self.formulas: list[Formula] = []
        self.formula_places: dict[str, int] = {}
        self.frames: list[dict[str, Any]] = []

    def add(self, epoch: int, derivation: Derivation) -> None:
        """One moment: values, δ, gradients, and every derivation with its numbers."""
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
        explanation, drawing = self.explanation, self.drawing
        return {
            "columns": [_column(column) for column in drawing.columns],
            "weights": [_weight(weight) for weight in drawing.weights],
            "leftOut": drawing.left_out,
            "pieces": self.pieces,
            "formulas": self.formulas,
            "frames": self.frames,
            "recorded": self.recorded,
            "histograms": _histograms(explanation) if drawing.left_out else [],
            "eta": explanation.eta,
            "loss": loss_formula(explanation.loss),
            "net": ["x", *(values.written for values in explanation.layers)],
            "notes": CORRECTIONS.replace("\n", " ") if explanation.follows_notes else "",
        }

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
        """The place of a formula; a symbol brings its value along where its name stands for
        several, as "(3 smaller terms)" does."""
        found: Formula = []
        text = ""
        for token in [*term.tokens(), ""]:
            if isinstance(token, str) and token:
                text += token
                continue
            if text:
                found.append(self._place(text))
                text = ""
            if isinstance(token, Symbol):
                place, value = self._place((token.text,)), _short(token.value)
                same = values.setdefault(place, value) == value
                found.append(place if same else [place, value])
        written = str(found)
        if written not in self.formula_places:
            self.formula_places[written] = len(self.formulas)
            self.formulas.append(found)
        return self.formula_places[written]

    def _place(self, piece: str | tuple[str]) -> int:
        if piece not in self.places:
            self.places[piece] = len(self.pieces)
            self.pieces.append(piece if isinstance(piece, str) else list(piece))
        return self.places[piece]


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
    found: dict[str, Any] = {
        "name": weight.symbol,
        "parameter": [weight.parameter, *weight.at],
    }
    places = {"column": weight.column, "from": weight.start, "to": weight.end}
    return found | {key: place for key, place in places.items() if place is not None}


def _numbers(column: Column, derivation: Derivation) -> dict[str, list[float]]:
    """The numbers of a column's units; a is left out where it is the output itself."""
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
    """How the gradients of each weight matrix are spread."""
    found = []
    for stage in explanation.stages:
        if not isinstance(stage, LinearStage):
            continue
        name = stage.parameter("weight")
        g = np.ravel(explanation.gradients[name])
        reach = float(np.max(np.abs(g))) or 1.0
        counts, _ = np.histogram(g, bins=BINS, range=(-reach, reach))
        found.append(
            {
                "name": name,
                "symbol": stage.weight_name.text(),
                "reach": _short(reach),
                "counts": counts.tolist(),
                "size": int(g.size),
            }
        )
    return found


def _shown(column: Column, values: Vector) -> list[float]:
    return [_short(value) for value in values[column.shown]]


def _short(value: float) -> float:
    """Six digits: what the page shows, and no more to send."""
    return float(f"{float(value):.6g}")

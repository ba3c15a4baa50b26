"""An explanation as one page of HTML that works offline: data here, the rest in `page.*`."""

from __future__ import annotations

import itertools
import json
from html import escape
from importlib import resources
from typing import Any

import numpy as np

from bp_arrays.errors import NonFiniteLossError
from bp_arrays.explanation.chain_rule import WeightExplanation
from bp_arrays.explanation.derivation import Derivation
from bp_arrays.explanation.deriving import derived
from bp_arrays.explanation.drawing import Column, columns_of
from bp_arrays.explanation.expression import Symbol, Term
from bp_arrays.explanation.recording import Recorder, descend
from bp_arrays.explanation.stages import LinearStage, Vector
from bp_arrays.explanation.text import CORRECTIONS
from bp_arrays.model import Model

STEPS = 30
"""Steps of gradient descent that are recorded where no training is given."""

WRITTEN = 60
"""Weights drawn up to which every recorded step has its derivations; of more only the first."""

FEW_STEPS = 6
"""Steps that are recorded of larger nets."""

BINS = 21


def to_html(explanation: Derivation, recording: Recorder | None) -> str:
    """The page, everything in it."""
    if recording is None:
        recording = _descended(explanation)
    columns = columns_of(explanation)
    frames = [
        _frame(_at(explanation, parameters), columns, epoch)
        for epoch, parameters in zip(recording.epochs, recording.parameters, strict=True)
    ]
    data = {
        "columns": [column.to_json() for column in columns],
        "edges": [
            {"column": c, "from": i, "to": j, "name": name, "parameter": [parameter, *at]}
            for c, i, j, name, parameter, at in _edges(explanation, columns)
        ],
        "biases": [
            {"column": c, "to": j, "name": name, "parameter": [parameter, *at]}
            for c, j, name, parameter, at in _biases(explanation, columns)
        ],
        "frames": frames,
        "histograms": _histograms(explanation),
        "eta": explanation.eta,
        "loss": type(explanation.loss).__name__,
        "net": ", ".join(["x", *(values.written for values in explanation.layers)]),
        "notes": CORRECTIONS.replace("\n", " ") if explanation.follows_notes else "",
    }
    return _page(json.dumps(data, ensure_ascii=False, separators=(",", ":")))


def _page(data: str) -> str:
    folder = resources.files("bp_arrays.explanation")
    page, style, script = (
        (folder / f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    # "</" would end the script element that the data is in
    filled = page.replace("/* style */", style).replace("/* script */", script)
    return filled.replace("/* data */", data.replace("</", "<\\/"))


def _descended(explanation: Derivation) -> Recorder:
    """The recording of a descent; where η is so large that it explodes, of no step at all."""
    model = explanation.model
    steps = STEPS if model.parameter_count <= WRITTEN else FEW_STEPS
    try:
        return descend(
            model, explanation.x, explanation.t, explanation.loss, explanation.eta, steps
        )
    except NonFiniteLossError:
        recorder = Recorder()
        recorder.epochs, recorder.parameters = [0], [model.host_parameters()]
        return recorder


def _at(explanation: Derivation, parameters: dict[str, Vector]) -> Derivation:
    """The same sample, explained with other parameters."""
    old = explanation.model
    model = Model(old.net, old.input_shape, device="cpu", dtype="float64")
    model.set_parameters(parameters)
    t = explanation.t
    target = t[0] if t.shape != (1,) else t
    return derived(Derivation, model, explanation.x, target, explanation.loss, explanation.eta)


def _frame(explanation: Derivation, columns: list[Column], epoch: int) -> dict[str, Any]:
    """What the page shows of one moment of the training."""
    every: list[tuple[str, tuple[int, ...]]] = [
        *((edge[4], edge[5]) for edge in _edges(explanation, columns)),
        *((bias[3], bias[4]) for bias in _biases(explanation, columns)),
    ]
    written = len(every) <= WRITTEN or epoch == 0
    rules = [explanation.weight(p, *at) for p, at in every] if written else []
    return {
        "epoch": epoch,
        "loss": _short(explanation.loss_value),
        "values": [
            [_short(v) for v in column.values(explanation)[column.shown]] for column in columns
        ],
        "deltas": [
            [_short(v) for v in column.deltas(explanation)[column.shown]] for column in columns
        ],
        "targets": [_short(v) for v in _targets(explanation)[columns[-1].shown]],
        "weights": [_short(float(explanation.model.parameters[p][_zero(at)])) for p, at in every],
        "gradients": [_short(float(explanation.gradients[p][_zero(at)])) for p, at in every],
        "rules": [_rule(rule) for rule in rules],
        "where": {
            name: [_pieces(term), _short(term.value)]
            for rule in rules
            for name, term in rule.where.items()
        },
    }


def _targets(explanation: Derivation) -> Vector:
    t = np.ravel(explanation.t)
    size = int(np.prod(explanation.model.output_shape))
    return t if t.size == size else np.eye(size)[int(t[0])]


def _zero(at: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(i - 1 for i in at)


def _rule(weight: WeightExplanation) -> dict[str, Any]:
    """A derivation: the formula as pieces, text or [name, value], and the three results."""
    return {
        "formula": _pieces(weight.expression),
        "where": list(weight.where),
        "value": f"{weight.value:.9g}",
        "computed": f"{weight.computed:.9g}",
        "numeric": f"{weight.numeric:.9g}",
        "updated": f"{weight.updated:.6g}",
    }


def _pieces(term: Term) -> list[Any]:
    found: list[Any] = []
    for token in term.tokens():
        if isinstance(token, Symbol):
            found.append([token.text, _short(token.value)])
        elif found and isinstance(found[-1], str):
            found[-1] += token
        else:
            found.append(token)
    return found


def _edges(
    explanation: Derivation, columns: list[Column]
) -> list[tuple[int, int, int, str, str, tuple[int, int]]]:
    """(column, from, to, name, parameter, indices) of every weight that is drawn."""
    found = []
    for c, (left, right) in enumerate(itertools.pairwise(columns)):
        stage = right.linear(explanation)
        if stage is None:
            continue
        parameter = f"{stage.path}.weight" if stage.path else "weight"
        for i in left.shown:
            for j in right.shown:
                name = stage.weight_symbol(i, j).text
                found.append(
                    (c, left.shown.index(i), right.shown.index(j), name, parameter, (i + 1, j + 1))
                )
    return found


def _biases(
    explanation: Derivation, columns: list[Column]
) -> list[tuple[int, int, str, str, tuple[int]]]:
    found = []
    for c, right in enumerate(columns):
        stage = right.linear(explanation)
        if stage is None or "bias" not in stage.params:
            continue
        parameter = f"{stage.path}.bias" if stage.path else "bias"
        for j in right.shown:
            name = stage.bias_name.text(j + 1)
            found.append((c, right.shown.index(j), name, parameter, (j + 1,)))
    return found


def _histograms(explanation: Derivation) -> list[dict[str, Any]]:
    """How the gradients of each weight matrix are spread."""
    found = []
    for stage in explanation.stages:
        if not isinstance(stage, LinearStage):
            continue
        name = f"{stage.path}.weight" if stage.path else "weight"
        g = np.ravel(explanation.gradients[name])
        reach = float(np.max(np.abs(g))) or 1.0
        counts, _ = np.histogram(g, bins=BINS, range=(-reach, reach))
        found.append(
            {"name": escape(name), "reach": _short(reach), "counts": counts.tolist(),
             "size": int(g.size)}
        )  # fmt: skip
    return found


def _short(value: float) -> float:
    """Six digits: what the page shows, and no more to send."""
    return float(f"{float(value):.6g}")

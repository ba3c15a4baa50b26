"""Explanation as a single offline HTML page, built from its data and the files `page.*`."""

from __future__ import annotations

import json
from html import escape
from importlib import resources

from bp_arrays.errors import InputError
from bp_arrays.explanation._derivation import Derivation
from bp_arrays.explanation._deriving import derived
from bp_arrays.explanation._drawing import drawing_of
from bp_arrays.explanation._page_data import PageData
from bp_arrays.explanation._recording import Recorder, descend
from bp_arrays.explanation._stages import Vector
from bp_arrays.explanation._text import to_text
from bp_arrays.model import Model

STEPS = 60
"""Steps of gradient descent that are recorded if no recording is passed."""

FEW_STEPS = 8
"""Steps that are recorded for nets with more than `MANY` parameters."""

MANY = 60

SCRIPTS = ("page.js", "page_drawing.js", "page_panels.js")


def to_html(explanation: Derivation, recording: Recorder | None) -> str:
    """Return the page, with its data, style and scripts inline."""
    if recording is None:
        recording, caption = _descended(explanation)
    else:
        _check(recording, explanation.model)
        caption = (
            f"Recorded in a training run of {recording.epochs[-1]} epochs. L is of this sample."
        )
    data = PageData(explanation, drawing_of(explanation), caption)
    for epoch, parameters in zip(recording.epochs, recording.parameters, strict=True):
        data.add(epoch, _with_parameters(explanation, parameters))
    parts = {
        "data": json.dumps(data.to_json(), ensure_ascii=False, separators=(",", ":")),
        "text": escape(to_text(explanation)),
    }
    return _page(parts)


def _page(parts: dict[str, str]) -> str:
    folder = resources.files("bp_arrays.explanation")
    page, style, *scripts = (
        (folder / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", *SCRIPTS)
    )
    page = page.replace("/* style */", style).replace("/* script */", "\n".join(scripts))
    # "</" would end the script element that the data is in
    data = parts["data"].replace("</", "<\\/").replace("<!--", "<\\u0021--")
    return page.replace("/* text */", parts["text"]).replace("/* data */", data)


def _check(recording: Recorder, model: Model) -> None:
    if not isinstance(recording, Recorder):
        raise InputError(f"to_html(recording=): expected a Recorder, got {recording!r}")
    if not recording.epochs:
        raise InputError(
            "to_html(recording=): expected recorded epochs, got none; pass the Recorder to "
            "fit(callbacks=[...]) first"
        )
    shapes = {name: value.shape for name, value in model.parameters.items()}
    recorded = {name: value.shape for name, value in recording.parameters[0].items()}
    if shapes != recorded:
        raise InputError(
            f"to_html(recording=): expected a recording of this net, with the parameters {shapes}, "
            f"got {recorded}"
        )


def _descended(explanation: Derivation) -> tuple[Recorder, str]:
    """Record gradient descent and return it with a caption; no step if the loss explodes."""
    model, eta = explanation.model, explanation.eta
    if not explanation.gradients:
        return _single_frame(model), "This net has no trained parameters."
    steps = STEPS if model.parameter_count <= MANY else FEW_STEPS
    recorder = descend(model, explanation.x, explanation.t, explanation.loss, eta, steps)
    if recorder is None:
        return _single_frame(model), f"With η = {eta:g} the loss explodes in the first steps."
    return recorder, (
        f"Gradient descent on this sample with η = {eta:g}: each step is the update of all weights."
    )


def _single_frame(model: Model) -> Recorder:
    recorder = Recorder()
    recorder.epochs, recorder.parameters = [0], [model.host_parameters()]
    return recorder


def _with_parameters(explanation: Derivation, parameters: dict[str, Vector]) -> Derivation:
    """Explain the same sample with other parameters."""
    old = explanation.model
    model = Model(old.net, old.input_shape, device="cpu", dtype="float64")
    model.set_parameters(parameters)
    t, loss = explanation.t, explanation.loss
    return derived(Derivation, model, explanation.x, t[0], loss, explanation.eta)

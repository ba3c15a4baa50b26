"""Explanation as plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bp_arrays.explanation._derivation import Derivation, LayerValues
from bp_arrays.explanation._naming import Name
from bp_arrays.explanation._notation import loss_formula
from bp_arrays.explanation._stages import LinearStage, MeasuredStage, Stage, Vector
from bp_arrays.explanation._weight_explanation import shown_fully

SHOWN = 8
"""Numbers of a vector, and rows of a matrix, that are printed."""

CORRECTIONS = (
    "Two slips of the notes are corrected here: ∂L/∂y_j is (y_j − t_j), and the δ of a hidden "
    "unit j\nhas the factors h_j(1 − h_j) of that unit and u_jk, the weight from it to output k."
)


def to_text(explanation: Derivation) -> str:
    """Write forward, δ, gradients and update, layer by layer; then the chain rule of one weight."""
    lines = [
        f"forward: x = {vector(np.ravel(explanation.x))}",
        *_named("x", explanation.input_names),
        *_forward(explanation),
        *_named("y", explanation.output_names),
        f"  t = {vector(np.ravel(explanation.t))}{_class(explanation)}",
        f"  L = {loss_formula(explanation.loss)} = {shown_fully(explanation.loss_value)}",
        "",
        "backward: the derivative of L by each layer's output, from the last layer to the first",
        *_backward(explanation),
        "",
        f"gradients, and the update with η = {explanation.eta:g}",
    ]
    for values, stage in zip(explanation.layers, explanation.stages, strict=True):
        lines += _parameters(values, stage)
    lines += [
        "",
        f"largest difference between the explained gradients and those of backward: "
        f"{explanation.largest_difference():.1e} of the largest gradient",
    ]
    first = explanation.first_weight
    if first is not None:
        name, at = first
        lines += ["", explanation.weight(name, *at).text]
    if explanation.follows_notes:
        lines += ["", CORRECTIONS]
    return "\n".join(lines)


def _class(explanation: Derivation) -> str:
    name = explanation.target_class
    return f", the class {name}" if name else ""


def _named(letter: str, names: tuple[str, ...]) -> Iterator[str]:
    """Write which name each input or output has."""
    shown = [f"{Name(letter).text(k)} is {name}" for k, name in enumerate(names[:SHOWN], start=1)]
    omitted = len(names) - SHOWN
    if shown:
        yield f"  {', '.join(shown)}{f', … {omitted} more' if omitted > 0 else ''}"


def vector(values: Vector) -> str:
    """Write a vector as [0.05, 0.35]; of many numbers, the first few."""
    numbers = ", ".join(f"{value:.4g}" for value in values[:SHOWN]).replace("-", "−")
    omitted = values.size - SHOWN
    return f"[{numbers}, … {omitted} more]" if omitted > 0 else f"[{numbers}]"


def _forward(explanation: Derivation) -> Iterator[str]:
    """Write the output of every stage, and of every layer in it."""
    for values, stage in zip(explanation.layers, explanation.stages, strict=True):
        yield f"  {values.written} = {vector(values.output)}"
        if isinstance(stage, MeasuredStage):
            yield f"    ({values.kind} has no formula here: its derivatives are measured)"
        for layer in values.inner:
            yield f"    layer {layer.path} ({layer.kind}) = {vector(layer.output)}"


def _backward(explanation: Derivation) -> Iterator[str]:
    """Write δ of every stage, and its local derivative, from the last stage to the first."""
    for values, stage in zip(
        reversed(explanation.layers), reversed(explanation.stages), strict=True
    ):
        y = stage.y_name.text()
        delta = f"{stage.delta_name.text()} = " if isinstance(stage, LinearStage) else ""
        yield f"  {delta}∂L/∂{y} = {vector(values.delta)}"
        if values.slope is not None:
            yield f"    local derivative ∂{y}/∂{stage.x_name.text()} = {vector(values.slope)}"
        for layer in reversed(values.inner):
            if layer.delta is not None:
                yield f"    ∂L/∂(layer {layer.path}, {layer.kind}) = {vector(layer.delta)}"


def _parameters(values: LayerValues, stage: Stage) -> Iterator[str]:
    symbols = {}
    if isinstance(stage, LinearStage):
        symbols = {
            "weight": f"{stage.weight_name.text()} = ",
            "bias": f"{stage.bias_name.text()} = ",
        }
    for name, gradient in values.gradients.items():
        yield f"  {symbols.get(name.rpartition('.')[2], '')}{name} {tuple(gradient.shape)}"
        rows, old, new = (
            np.reshape(array, (-1, *array.shape[-1:]))  # all leading axes as one
            for array in (gradient, values.parameters[name], values.updated[name])
        )
        for k in range(min(len(rows), SHOWN)):
            yield f"    value {vector(old[k])}"
            yield f"    ∂L/∂  {vector(rows[k])}"
            yield f"    new   {vector(new[k])}"
        if len(rows) > SHOWN:
            yield f"    … {len(rows) - SHOWN} more rows"

"""An explanation as plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bp_arrays.explanation.chain_rule import shown_fully
from bp_arrays.explanation.derivation import Derivation, LayerValues
from bp_arrays.explanation.stages import Vector

SHOWN = 8
"""Numbers of a vector, and rows of a matrix, that are printed."""

CORRECTIONS = (
    "Two slips of the notes are corrected here: ∂L/∂y_j is (y_j − t_j), and the δ of a hidden "
    "unit j\ncarries its own h_j(1 − h_j) and the weight u_jk that leads to output k."
)


def to_text(explanation: Derivation) -> str:
    """Forward, δ, gradients and update, layer by layer; then one weight's chain rule."""
    lines = [
        f"forward: x = {vector(np.ravel(explanation.x))}",
        *(f"  {values.written} = {vector(values.output)}" for values in explanation.layers),
        f"  t = {vector(np.ravel(explanation.t))}",
        f"  L = {type(explanation.loss).__name__}(y, t) = {shown_fully(explanation.loss_value)}",
        "",
        "backward: δ = ∂L/∂(what each layer gives), from the output to the input",
    ]
    for values, stage in zip(
        reversed(explanation.layers), reversed(explanation.stages), strict=True
    ):
        lines.append(f"  ∂L/∂{stage.y_name.text()} = {vector(values.delta)}")
        if values.slope is not None:
            lines.append(f"    local derivative {vector(values.slope)}")
    lines += ["", f"gradients, and the update with η = {explanation.eta:g}"]
    for values in explanation.layers:
        lines += _parameters(values)
    lines += [
        "",
        f"largest difference between the explained gradients and those of backward: "
        f"{explanation.largest_difference():.1e} of the largest gradient",
    ]
    first = explanation.first_weight
    if first is not None:
        name, at = first
        lines += ["", *explanation.weight(name, *at).lines()]
    if explanation.follows_notes:
        lines += ["", CORRECTIONS]
    return "\n".join(lines)


def vector(values: Vector) -> str:
    """[0.05, 0.35], or the first few of many."""
    kept = ", ".join(f"{value:.4g}" for value in values[:SHOWN])
    left = values.size - SHOWN
    return f"[{kept}, … {left} more]" if left > 0 else f"[{kept}]"


def _parameters(values: LayerValues) -> Iterator[str]:
    for name, gradient in values.gradients.items():
        yield f"  {name} {tuple(gradient.shape)}"
        rows = np.atleast_2d(gradient)
        old, new = np.atleast_2d(values.parameters[name]), np.atleast_2d(values.updated[name])
        for k in range(min(len(rows), SHOWN)):
            yield f"    value {vector(old[k])}"
            yield f"    ∂L/∂  {vector(rows[k])}"
            yield f"    new   {vector(new[k])}"
        if len(rows) > SHOWN:
            yield f"    … {len(rows) - SHOWN} more rows"

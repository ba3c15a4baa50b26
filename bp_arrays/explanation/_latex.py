"""Explanation as Markdown with LaTeX formulas, for notebooks and papers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bp_arrays.explanation._derivation import Derivation, LayerValues
from bp_arrays.explanation._expression import latex_number
from bp_arrays.explanation._notation import loss_formula
from bp_arrays.explanation._stages import LinearStage, Vector

SHOWN = 6
"""Numbers of a row, and rows of a matrix, that are written out."""

CORRECTIONS = (
    r"Two slips of the notes are corrected here: $\partial L/\partial y_j$ is $(y_j - t_j)$, and "
    r"the $\delta$ of a hidden unit $j$ has the factors $h_j(1 - h_j)$ of that unit and $u_{jk}$, "
    "the weight from it to output $k$."
)


def to_latex(explanation: Derivation) -> str:
    """Write forward values, δ, gradients and update, and a chain rule for each Linear layer."""
    forward = [
        f"x &= {_matrix(np.ravel(explanation.x))}",
        *(rf"{s.y_name.latex()} &= {_matrix(s.y)}" for s in explanation.stages),
        f"t &= {_matrix(np.ravel(explanation.t))}",
        f"L &= {loss_formula(explanation.loss, latex=True)} = "
        f"{latex_number(explanation.loss_value)}",
    ]
    updates = [row for values in explanation.layers for row in _updates(values)]
    blocks = [
        _block("Forward", forward),
        _block("Backward", list(_backward(explanation))),
        _block(rf"Gradients, and the update with $\eta = {explanation.eta:g}$", updates),
    ]
    for stage in explanation.stages:
        if isinstance(stage, LinearStage):
            rule = explanation.weight(stage.parameter("weight"), 1, 1)
            blocks.append(f"### ${rule.weight.latex}$\n\n$$\n{rule.latex}\n$$\n")
    if explanation.follows_notes:
        blocks.append(f"{CORRECTIONS}\n")
    return "\n".join(blocks)


def _backward(explanation: Derivation) -> Iterator[str]:
    for stage, delta in zip(
        reversed(explanation.stages), reversed(explanation.deltas), strict=True
    ):
        symbol = f"{stage.delta_name.latex()} = " if isinstance(stage, LinearStage) else ""
        yield (
            rf"{symbol}\frac{{\partial L}}{{\partial {stage.y_name.latex()}}} &= {_matrix(delta)}"
        )


def _updates(values: LayerValues) -> Iterator[str]:
    for name, gradient in values.gradients.items():
        label = rf"\text{{{name}}}".replace("_", r"\_")
        yield rf"\frac{{\partial L}}{{\partial\, {label}}} &= {_matrix(gradient)}"
        yield rf"{label} &\leftarrow {_matrix(values.updated[name])}"


def _block(heading: str, rows: list[str]) -> str:
    lines = " \\\\\n".join(rows)
    return f"### {heading}\n\n$$\n\\begin{{aligned}}\n{lines}\n\\end{{aligned}}\n$$\n"


def _matrix(values: Vector) -> str:
    """Write the first rows and columns of a matrix, with dots for the others."""
    rows = values.reshape((-1, values.shape[-1]))  # of a kernel, those of each point in order
    lines = [
        " & ".join(latex_number(v, 4) for v in row[:SHOWN])
        + (r" & \cdots" if row.size > SHOWN else "")
        for row in rows[:SHOWN]
    ]
    if len(rows) > SHOWN:
        lines.append(r"\vdots")
    return r"\begin{bmatrix} " + r" \\ ".join(lines) + r" \end{bmatrix}"

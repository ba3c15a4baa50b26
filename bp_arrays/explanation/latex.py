"""An explanation as Markdown with LaTeX formulas, as notebooks and papers take it."""

from __future__ import annotations

import numpy as np

from bp_arrays.explanation.derivation import Derivation
from bp_arrays.explanation.stages import LinearStage, Vector

SHOWN = 6


def to_latex(explanation: Derivation) -> str:
    """Forward values, δ, and the chain rule of the first weight of each Linear layer."""
    lines = ["### Forward", "", r"$$\begin{aligned}", _row("x", np.ravel(explanation.x))]
    lines += [_row(s.y_name.latex(), s.y) for s in explanation.stages]
    lines += [
        _row("t", np.ravel(explanation.t)),
        rf"L &= {explanation.loss_value:.6g}",
        r"\end{aligned}$$",
        "",
        "### Backward",
        "",
        r"$$\begin{aligned}",
        *(
            _row(rf"\frac{{\partial L}}{{\partial {stage.y_name.latex()}}}", delta)
            for stage, delta in zip(
                reversed(explanation.stages), reversed(explanation.deltas), strict=True
            )
        ),
        r"\end{aligned}$$",
        "",
    ]
    for stage in explanation.stages:
        if isinstance(stage, LinearStage):
            name = f"{stage.path}.weight" if stage.path else "weight"
            rule = explanation.weight(name, 1, 1)
            lines += [f"### ${rule.weight.latex}$", "", rule.latex, ""]
    if explanation.follows_notes:
        lines += [
            r"Two slips of the notes are corrected here: $\partial L/\partial y_j$ is "
            r"$(y_j - t_j)$, and the $\delta$ of a hidden unit $j$ carries its own "
            r"$h_j(1 - h_j)$ and the weight $u_{jk}$ that leads to output $k$.",
            "",
        ]
    return "\n".join(lines)


def _row(name: str, values: Vector) -> str:
    kept = " & ".join(f"{value:.4g}" for value in values[:SHOWN])
    more = r" & \cdots" if values.size > SHOWN else ""
    return rf"{name} &= \begin{{bmatrix}} {kept}{more} \end{{bmatrix}} \\"

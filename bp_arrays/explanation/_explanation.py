"""The derivation with its three faces: text, LaTeX, and a page."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from typing import Any

from bp_arrays.errors import InputError
from bp_arrays.explanation._derivation import Derivation
from bp_arrays.explanation._deriving import derived
from bp_arrays.explanation._latex import to_latex
from bp_arrays.explanation._page import to_html
from bp_arrays.explanation._recording import Recorder
from bp_arrays.explanation._text import to_text
from bp_arrays.files import write_atomically
from bp_arrays.losses import Loss
from bp_arrays.model import Model


class Explanation(Derivation):
    """One sample's way through a model, and the error's way back. Made by `bp.explain`.

    See `Derivation` for the numbers it holds, and `weight` for the chain rule of one weight.
    """

    def to_text(self) -> str:
        """The whole derivation as plain text."""
        return to_text(self)

    def to_latex(self) -> str:
        """The whole derivation as LaTeX with Markdown headings, as notebooks show it."""
        return to_latex(self)

    def to_html(
        self, path: str | os.PathLike[str] | None = None, *, recording: Recorder | None = None
    ) -> str:
        """One page that needs no network: the net drawn, every number, every derivation.

        Parameters
        ----------
        path : path, optional
            Where to write the page.
        recording : Recorder, optional
            A training to step through; by default one of gradient descent on this sample, made
            on a copy of the model.

        Returns
        -------
        str
            The page.

        Raises
        ------
        InputError
            If the path is a folder or in none, or if nothing of this net was recorded.
        """
        place = None if path is None else _writable(Path(path).resolve())
        page = to_html(self, recording)
        if place is not None:
            write_atomically(place, page.encode("utf-8"))
        return page

    def _repr_html_(self) -> str:
        page = escape(self.to_html(), quote=True)
        return (
            '<iframe title="Backpropagation, number by number" '
            f'srcdoc="{page}" style="width:100%;height:860px;border:0"></iframe>'
        )

    def __str__(self) -> str:
        return self.to_text()


def _writable(place: Path) -> Path:
    if place.is_dir():
        raise InputError(f"to_html(path): {place} is a folder; name a file in it")
    if not place.parent.is_dir():
        raise InputError(f"to_html(path): there is no folder {place.parent}; create it first")
    return place


def explain(model: Model, x: Any, t: Any, loss: Loss, *, eta: float = 0.1) -> Explanation:
    """Every number of the backward pass for one sample, and the chain rule behind each.

    The model is not changed. All is computed in float64 on the CPU, with layers such as Dropout
    as in prediction.

    Parameters
    ----------
    model : Model
    x : array, the shape of one sample, or (1, *input_shape)
    t : its target, as the loss takes it: a class, or values of the shape of the output
    loss : Loss
    eta : float, default 0.1
        The learning rate η of the updates shown.

    Returns
    -------
    Explanation

    Raises
    ------
    InputError
        For more than one sample, shapes that do not fit, or values that are not finite, whether
        handed in or come to on the way.

    Notes
    -----
    The derivation follows the course notes and corrects two slips in them: ∂L/∂y_j of the loss
    ½Σ(y − t)² is (y_j − t_j), and the δ of a hidden unit carries that unit's own h_j(1 − h_j)
    and the weight u_jk that leads from it to the output k.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> net = bp.Sequential(bp.Linear(3), bp.Sigmoid(), bp.Linear(2), bp.Sigmoid())
    >>> model = bp.Model(net, 2, device="cpu", seed=0)
    >>> explanation = bp.explain(model, [0.05, 0.35], [0.0175, 0.3825], bp.L2Loss())
    >>> w11 = explanation.weight("0.weight", 1, 1)
    >>> abs(w11.value - w11.computed) < 1e-15, abs(w11.value - w11.numeric) < 1e-9
    (True, True)
    """
    return derived(Explanation, model, x, t, loss, eta)

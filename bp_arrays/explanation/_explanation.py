"""`explain` and `Explanation`: the derivation as text, as LaTeX, and as an HTML page."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from bp_arrays.checks import array_error
from bp_arrays.errors import InputError, warn
from bp_arrays.explanation._derivation import Derivation
from bp_arrays.explanation._deriving import derived
from bp_arrays.explanation._images import image_shape_of
from bp_arrays.explanation._latex import to_latex
from bp_arrays.explanation._page import to_html
from bp_arrays.explanation._recording import Recorder
from bp_arrays.explanation._text import to_text
from bp_arrays.files import write_atomically
from bp_arrays.losses import Loss, doubled_activations


class Explanation(Derivation):
    """The forward and backward pass of one sample, with every number; returned by `bp.explain`.

    See `Derivation` for its attributes, and `weight` for the chain rule of one weight.
    """

    def to_text(self) -> str:
        """Return the whole derivation as plain text."""
        return to_text(self)

    def to_latex(self) -> str:
        """Return the whole derivation as LaTeX with Markdown headings, as for notebooks."""
        return to_latex(self)

    def to_html(
        self,
        path: str | os.PathLike[str] | None = None,
        recording: Recorder | None = None,
        **unknown: Any,
    ) -> str:
        """Return an offline HTML page: a drawing of the net, every number, every derivation.

        Parameters
        ----------
        path : path, optional
            File to write the page to.
        recording : Recorder, optional
            A training run to step through; by default gradient descent on this sample, with a
            copy of the model.

        Returns
        -------
        str
            The page.

        Raises
        ------
        InputError
            If the path is a folder or its folder does not exist; for a recording that is empty
            or of another net; for an unknown argument.
        """
        for name in unknown:
            raise InputError(
                f"to_html({name}=): expected path= or recording=; pass a Recorder as recording="
            )
        if isinstance(path, Recorder):
            raise InputError("to_html(path=): expected a file, got a Recorder; write recording=")
        file = None if path is None else _writable(Path(path).resolve())
        page = to_html(self, recording)
        if file is not None:
            write_atomically(file, page.encode("utf-8"))
        return page

    def _repr_html_(self) -> str:
        page = escape(self.to_html(), quote=True)
        return (
            '<iframe title="Backpropagation, number by number" '
            f'srcdoc="{page}" style="width:100%;height:860px;border:0"></iframe>'
        )

    def __str__(self) -> str:
        return self.to_text()


def _writable(file: Path) -> Path:
    if file.is_dir():
        raise InputError(f"to_html(path=): expected a file, got the folder {file}")
    if not file.parent.is_dir():
        raise InputError(f"to_html(path=): no folder {file.parent}; create it first")
    return file


def explain(
    model: Any,
    x: Any,
    t: Any,
    loss: Loss | None = None,
    *,
    eta: float = 0.1,
    class_names: Sequence[Any] | None = None,
    image_shape: Sequence[int] | None = None,
) -> Explanation:
    """Explain the backward pass of one sample: every number, and the chain rule of each weight.

    The model is not changed. Everything is computed in float64 on the CPU, with layers such as
    Dropout as in prediction.

    Parameters
    ----------
    model : Model, or a fitted estimator such as MLPClassifier
        With an estimator, its names of columns and classes are shown.
    x : array (*input_shape,) or (1, *input_shape)
        With an estimator also a row of a table, `X.iloc[0]`.
    t : target of the sample: a class, or an array of the shape of the output
        With an estimator a label, as in the y of its fit.
    loss : Loss
        With an estimator by default the loss it was trained with.
    eta : float, default 0.1
        The learning rate η of the updates shown.
    class_names : sequence, optional
        The name of each output, for the text and the page.
    image_shape : (height, width) or (height, width, channels), optional
        Shows a flat x as an image on the page. An x of shape (height, width, 1 or 3) is one anyway.

    Returns
    -------
    Explanation

    Raises
    ------
    InputError
        For more than one sample, wrong shapes, or values that are not finite, in the arguments
        or in the computation.

    Notes
    -----
    Linear layers, convolutions, pooling, attention and activations are written out; of a
    convolution, or a Linear layer of a sequence, ∂L/∂w = Σ δ x over all positions, of which the
    largest terms are shown. Attention is three steps: the product that gives queries, keys and
    values, the sums of the values of each head, and the product after them; a TransformerBlock is
    two residual blocks. Every other layer, such as a recurrent layer, normalization or attention
    with rotary positions, is one step whose derivative is measured by central differences, and is
    marked so. Inputs of indices and several inputs are refused.

    The derivation follows the course notes and corrects two slips in them: ∂L/∂y_j of the loss
    ½Σ(y − t)² is (y_j − t_j), and the δ of a hidden unit j has the factors h_j(1 − h_j) of that
    unit and u_jk, the weight from it to the output k.

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
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    if hasattr(model, "_explained"):  # an estimator: their room is above this one
        model, x, t, loss, inputs, outputs = model._explained(x, t, loss)
    explanation = derived(Explanation, model, x, t, loss, eta)
    explanation.input_names, explanation.output_names = inputs, outputs
    if class_names is not None:
        explanation.output_names = _names(class_names, explanation.model.output_shape)
    explanation.image_shape = image_shape_of(image_shape, explanation.model.input_shape)
    for line in doubled_activations(explanation.model.net, explanation.loss):
        warn(line)
    return explanation


def _names(class_names: Any, output_shape: Any) -> tuple[str, ...]:
    """Return the names of the outputs as text, checked."""
    size = math.prod(output_shape)
    is_listed = hasattr(class_names, "__len__") and not isinstance(class_names, (str, bytes))
    if not is_listed or len(class_names) != size:
        got = len(class_names) if is_listed else repr(class_names)
        raise array_error("explain", "class_names", f"a name for each of the {size} outputs", got)
    return tuple(map(str, class_names))

"""Activations at the end of a net that its loss applies itself, such as Softmax and CrossEntropy.

A model with both trains, badly and without an error: the loss of the digits stays at 1.5, not 0.1.
"""

from __future__ import annotations

from collections.abc import Iterator

from bp_arrays.activations import Hardsigmoid, Identity, LogSoftmax, Sigmoid, Softmax
from bp_arrays.layers import (
    Dropout,
    Ensemble,
    Flatten,
    Layer,
    Parallel,
    Reshape,
    Select,
    Sequential,
)
from bp_arrays.losses._combined import CombinedLoss
from bp_arrays.losses._cross_entropy import BinaryCrossEntropy, CrossEntropy
from bp_arrays.losses._ctc import CTC
from bp_arrays.losses._divergence import KLDivergence
from bp_arrays.losses._ensemble import EnsembleLoss
from bp_arrays.losses._hinge import Hinge, MultiMargin, SquaredHinge
from bp_arrays.losses._loss import Loss

SQUASHING = (Sigmoid, Hardsigmoid, Softmax, LogSoftmax)
PASSING = (Identity, Dropout, Flatten, Reshape)
"""Layers after which the outputs are still those of the activation before."""

End = tuple[str, Layer]
"""The last layer of an output, with its path."""


def doubled_activations(net: Layer, loss: Loss) -> list[str]:
    """Describe, in one line each, the activations at the end of a net that do not fit its loss.

    Parameters
    ----------
    net : Layer
        Its last layers are looked up inside `Sequential`, of several outputs inside `Parallel`.
    loss : Loss

    Examples
    --------
    >>> from bp_arrays import CrossEntropy, Linear, Sequential, Softmax
    >>> [line] = doubled_activations(Sequential(Linear(3), Softmax()), CrossEntropy())
    >>> line[:60]
    'the net ends in Softmax (layer 1), but CrossEntropy applies '
    """
    parts: list[tuple[str | int | None, Loss, str]]
    if isinstance(loss, CombinedLoss):
        parts = [(key, part, f"output {key!r} of the net") for key, part in loss.items()]
    else:
        parts = [(None, loss, "the net")]
    lines = []
    for key, part, what in parts:
        end = last_layer(net, key)
        part = part.loss if isinstance(part, EnsembleLoss) else part
        advice = None if end is None else _advice(end[1], part)
        if end is not None and advice is not None:
            name = f"{type(end[1]).__name__} (layer {end[0]})" if end[0] else type(end[1]).__name__
            lines.append(f"{what} ends in {name}, but {type(part).__name__} {advice}")
    return lines


def last_layer(net: Layer, key: str | int | None = None) -> End | None:
    """Return the layer that computes an output of a net, and its path; None if it is not one layer.

    Parameters
    ----------
    net : Layer
    key : str, int or None
        The name or position of the output; None for a net of one output.
    """
    for path, layer in _backwards("", net):
        if isinstance(layer, PASSING):
            continue
        if isinstance(layer, Select) and key is None:
            key = layer.key
            continue
        if isinstance(layer, Parallel) and key is not None:
            names = list(layer.parts())
            name = key if isinstance(key, str) else names[key]
            if name not in names:
                continue  # passed through unchanged
            branch = last_layer(layer.parts()[name])
            prefix = f"{path}.{name}" if path else name
            return None if branch is None else (_joined(prefix, branch[0]), branch[1])
        return (path, layer) if key is None else None
    return None


def _backwards(path: str, layer: Layer) -> Iterator[End]:
    """Yield the layers of nested chains, the last first; of an ensemble those of a member."""
    if isinstance(layer, Ensemble):
        yield from _backwards(path, layer.net)
        return
    if not isinstance(layer, Sequential):
        yield path, layer
        return
    for name, part in reversed(layer.parts().items()):
        yield from _backwards(_joined(path, name), part)


def _joined(*names: str) -> str:
    return ".".join(filter(None, names))


def _advice(layer: Layer, loss: Loss) -> str | None:
    """Return what the loss does with the outputs of an activation, and what to change."""
    if not isinstance(layer, SQUASHING):
        return None
    remove = f"remove the {type(layer).__name__}"
    if isinstance(loss, (CrossEntropy, KLDivergence, CTC)):
        if isinstance(layer, LogSoftmax):
            return f"applies a log-softmax itself; the second changes nothing: {remove}"
        if isinstance(layer, Softmax):
            return (
                "applies a softmax itself: with two of them the loss stays far from 0 and training "
                f"is slow; {remove}, and apply it to the outputs of predict"
            )
        return (
            "expects logits of any size: between 0 and 1 they cannot tell classes apart with "
            f"certainty; {remove}"
        )
    if isinstance(loss, BinaryCrossEntropy):
        if isinstance(layer, (Sigmoid, Hardsigmoid)):
            return (
                "applies a sigmoid itself: with two of them the probabilities stay between 0.5 and "
                f"0.73; {remove}, and apply it to the outputs of predict"
            )
        return f"applies a sigmoid itself and expects logits; {remove}, or use CrossEntropy"
    if isinstance(loss, (Hinge, SquaredHinge, MultiMargin)):
        return f"expects scores around 0, with margins of 1, not outputs of this range; {remove}"
    return None

"""The function that writes recurrent layers by ONNX's LSTM, GRU and RNN."""

from __future__ import annotations

from typing import Any

import numpy as np

from bp_arrays.formats._gates import ONNX_GATES, reordered, suffixes
from bp_arrays.formats._onnx_graph import Graph, Value


def recurrence(layer: Any, params: dict[str, Any], x: Value, graph: Graph) -> Value:
    """Write all layers and directions; ONNX has the time on the first axis.

    ONNX Runtime has these operators in float32 only.
    """
    operator, n = type(layer).__name__, layer.features
    directions = 2 if layer.bidirectional else 1
    attributes: dict[str, Any] = {"hidden_size": n}
    if layer.bidirectional:
        attributes["direction"] = "bidirectional"
    if operator == "GRU":
        attributes["linear_before_reset"] = 1  # r acts on the product
    if operator == "RNN":
        attributes["activations"] = [layer.activation.capitalize()] * directions
    batch, time, _ = x.shape
    sequence, final = graph.permute(x, (1, 0, 2)), x
    for k in range(layer.layers):
        ends = [end for number, end in suffixes(layer) if number == k]
        weights = _weights(operator, [_of(params, end) for end in ends], graph)
        shapes = [(time, directions, batch, n), (directions, batch, n)]
        y, final = graph.outputs(operator, sequence, *weights, shapes=shapes, **attributes)
        if directions == 1:
            axes, shape = graph.integers(1), (time, batch, n)
            sequence = graph.node("Squeeze", y, axes, shape=shape)
        else:
            sequence = _side_by_side(y, graph)
    if not layer.last:
        return graph.permute(sequence, (1, 0, 2))
    if directions == 1:
        return graph.node("Squeeze", final, graph.integers(0), shape=(batch, n))
    both = graph.permute(final, (1, 0, 2))
    sizes = graph.integers(-1, 2 * n)
    return graph.node("Reshape", both, sizes, shape=(batch, 2 * n))


def _side_by_side(y: Value, graph: Graph) -> Value:
    """Return (time, directions, batch, n) as (time, batch, directions n)."""
    time, directions, batch, n = y.shape
    shape = (time, batch, directions * n)
    sizes = graph.integers(time, -1, directions * n)
    return graph.node("Reshape", graph.permute(y, (0, 2, 1, 3)), sizes, shape=shape)


def _of(params: dict[str, Any], end: str) -> dict[str, Value]:
    """Return the parameters of one layer and direction, by names without an ending."""
    names = ("input_weight", "recurrent_weight", "bias", "recurrent_bias")
    return {name: params[name + end] for name in names if name + end in params}


def _weights(operator: str, parts: list[dict[str, Value]], graph: Graph) -> list[Value]:
    """Return the inputs W, R and B: gates in ONNX's order, a row for each direction."""
    gates = ONNX_GATES[operator]

    def stacked(name: str) -> Any:
        return np.stack([reordered(part[name].numbers, gates).T for part in parts])

    bias = stacked("bias")
    recurrent_bias = np.zeros_like(bias)
    used = [part["bias"] for part in parts]
    if operator == "GRU":  # only the last gate has a second bias
        n = bias.shape[-1] // len(gates)
        recurrent_bias[:, -n:] = [part["recurrent_bias"].numbers for part in parts]
        used += [part["recurrent_bias"] for part in parts]
    weights = [
        graph.rearranged(stacked(name), letter, *(part[name] for part in parts))
        for name, letter in (("input_weight", "W"), ("recurrent_weight", "R"))
    ]
    both = np.concatenate([bias, recurrent_bias], axis=-1)
    return [*weights, graph.rearranged(both, "B", *used)]

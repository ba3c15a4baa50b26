"""Recurrent layers, sample by sample, time by time and unit by unit, in plain Python floats."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np

from bp_arrays.testing._case import PARAMETER
from bp_arrays.testing.witnesses._activations import Row, sigmoid
from bp_arrays.testing.witnesses._witness import HostArrays

Weights = dict[str, list[Row]]
"""The parameters of one layer and direction, vectors as one row."""

Cell = Callable[[Row, dict[str, Row], Weights], dict[str, Row]]
"""(x of one time, state, weights) -> new state."""


def dot(row: Row, w: list[Row], column: int) -> float:
    return math.fsum(row[i] * w[i][column] for i in range(len(row)))


def rnn(x: Row, state: dict[str, Row], w: Weights, *, relu: bool = False) -> dict[str, Row]:
    h = []
    for j in range(len(state["h"])):
        a = dot(x, w["input_weight"], j) + dot(state["h"], w["recurrent_weight"], j)
        a += w["bias"][0][j]
        h.append(max(a, 0.0) if relu else math.tanh(a))
    return {"h": h}


def lstm(x: Row, state: dict[str, Row], w: Weights) -> dict[str, Row]:
    size = len(state["h"])
    new: dict[str, Row] = {"h": [], "c": []}
    for j in range(size):
        i, f, g, o = (
            dot(x, w["input_weight"], gate * size + j)
            + dot(state["h"], w["recurrent_weight"], gate * size + j)
            + w["bias"][0][gate * size + j]
            for gate in range(4)
        )
        c = sigmoid(f) * state["c"][j] + sigmoid(i) * math.tanh(g)
        new["c"].append(c)
        new["h"].append(sigmoid(o) * math.tanh(c))
    return new


def gru(x: Row, state: dict[str, Row], w: Weights) -> dict[str, Row]:
    h, size = state["h"], len(state["h"])
    new = []
    for j in range(size):
        columns = (j, size + j, 2 * size + j)
        read = [dot(x, w["input_weight"], k) + w["bias"][0][k] for k in columns]
        recurrent = [dot(h, w["recurrent_weight"], k) for k in columns]
        r, z = sigmoid(read[0] + recurrent[0]), sigmoid(read[1] + recurrent[1])
        value = math.tanh(read[2] + r * (recurrent[2] + w["recurrent_bias"][0][j]))
        new.append((1.0 - z) * value + z * h[j])
    return {"h": new}


CELLS: dict[str, Cell] = {"RNN": rnn, "LSTM": lstm, "GRU": gru}


def recurrent_values(
    name: str, features: int, layers: int, bidirectional: bool, last: bool, inputs: HostArrays
) -> HostArrays:
    """Return the outputs of a recurrent layer for a batch, and its final states if it has any.

    "RNN, relu" is the layer RNN with this activation.
    """
    kind, _, activation = name.partition(", ")
    cell = CELLS[kind]
    if activation == "relu":
        cell = lambda x, state, w: rnn(x, state, w, relu=True)  # noqa: E731
    states = ("h", "c") if kind == "LSTM" else ("h",)
    directions = ("", "_reverse") if bidirectional else ("",)
    batch, time, _ = inputs["x"].shape
    y: list[Any] = []
    finals: list[list[dict[str, Row]]] = []
    for sample in range(batch):
        positions = [t for t in range(time) if _is_real(inputs, sample, t)]
        rows = [inputs["x"][sample, t].tolist() for t in positions]
        sample_finals = []
        for layer in range(layers):
            outputs = []
            for d, direction in enumerate(directions):
                suffix = (f"_{layer}" if layers > 1 else "") + direction
                w = _weights(inputs, suffix)
                number = layer * len(directions) + d
                state = {part: _initial(inputs, part, sample, number, features) for part in states}
                hs = []
                for row in reversed(rows) if direction else rows:
                    state = cell(row, state, w)
                    hs.append(state["h"])
                outputs.append(hs[::-1] if direction else hs)
                sample_finals.append(state)
            rows = [list(chain(*each)) for each in zip(*outputs, strict=True)]
        finals.append(sample_finals)
        if last:
            y.append(list(chain(*(state["h"] for state in sample_finals[-len(directions) :]))))
        else:
            whole = [[0.0] * features * len(directions) for _ in range(time)]
            for t, row in zip(positions, rows, strict=True):
                whole[t] = row
            y.append(whole)
    values = {"y": np.array(y)}
    if "h" in inputs:
        for part in states:
            each = [[state[part] for state in sample_finals] for sample_finals in finals]
            values[f"y {part}"] = np.reshape(each, inputs[part].shape)
    return values


def _is_real(inputs: HostArrays, sample: int, t: int) -> bool:
    within = "lengths" not in inputs or t < int(inputs["lengths"][sample])
    return within and ("mask" not in inputs or bool(inputs["mask"][sample, t]))


def _weights(inputs: HostArrays, suffix: str) -> Weights:
    names = ("input_weight", "recurrent_weight", "bias", "recurrent_bias")
    return {
        name: np.atleast_2d(inputs[PARAMETER + name + suffix]).tolist()
        for name in names
        if PARAMETER + name + suffix in inputs
    }


def _initial(inputs: HostArrays, part: str, sample: int, number: int, features: int) -> Row:
    if part not in inputs:
        return [0.0] * features
    rows: list[Row] = np.reshape(inputs[part][sample], (-1, features)).tolist()
    return rows[number]

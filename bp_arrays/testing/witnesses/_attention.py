"""Embeddings, positions and attention, position by position and head by head, in Python floats."""

from __future__ import annotations

import cmath
import math

import numpy as np

from bp_arrays.testing._case import PARAMETER
from bp_arrays.testing.witnesses._activations import gelu_by_tanh
from bp_arrays.testing.witnesses._normalization import normalized
from bp_arrays.testing.witnesses._witness import HostArrays
from bp_arrays.typing import HostArray

Rows = list[list[float]]


def embedding_values(inputs: HostArrays, padding_index: int | None = None) -> HostArrays:
    """Return the row of each index, and the errors added up row by row."""
    table, ids = inputs[PARAMETER + "weight"].tolist(), inputs["x"]
    features = len(table[0])
    flat = ids.ravel().tolist()
    y = [[0.0] * features if v == padding_index else table[v] for v in flat]
    collected: list[list[list[float]]] = [[[] for _ in range(features)] for _ in table]
    for v, error in zip(flat, inputs["delta"].reshape(-1, features).tolist(), strict=True):
        if v != padding_index:
            for j in range(features):
                collected[v][j].append(error[j])
    gradient = [[math.fsum(errors) for errors in row] for row in collected]
    return {"y": np.reshape(y, (*ids.shape, features)), "d weight": np.array(gradient)}


def add_rows_values(size: int, inputs: HostArrays) -> HostArrays:
    """Return the sum of the rows with each index."""
    rows, ids = inputs["rows"].tolist(), inputs["ids"].tolist()
    total = [
        [
            math.fsum(row[j] for row, v in zip(rows, ids, strict=True) if v == index)
            for j in range(len(rows[0]))
        ]
        for index in range(size)
    ]
    return {"total": np.array(total)}


def positions_values(name: str, inputs: HostArrays, base: float = 10000.0) -> HostArrays:
    """Return the output of a layer of positions; `name` may end with ", interleaved"."""
    x = inputs["x"]
    time, features = x.shape[-2:]
    y = np.empty(x.shape)
    for place in np.ndindex(*x.shape[:-2]):
        for t in range(time):
            row = x[(*place, t)].tolist()
            if name.startswith("Learned"):
                added = inputs[PARAMETER + "weight"][t].tolist()
                y[(*place, t)] = [row[j] + added[j] for j in range(features)]
            elif name.startswith("Sinusoidal"):
                angles = [t / base ** ((j - j % 2) / features) for j in range(features)]
                waves = [(math.sin, math.cos)[j % 2](angle) for j, angle in enumerate(angles)]
                y[(*place, t)] = [row[j] + waves[j] for j in range(features)]
            else:
                y[(*place, t)] = turned(row, t, base, name.endswith("interleaved"))
    return {"y": y}


def turned(
    row: list[float], t: int, base: float = 10000.0, interleaved: bool = False
) -> list[float]:
    """Multiply each pair of features, as a complex number, by e^iθ."""
    n = len(row)
    result = [0.0] * n
    for i in range(n // 2):
        first, second = (2 * i, 2 * i + 1) if interleaved else (i, i + n // 2)
        z = complex(row[first], row[second]) * cmath.exp(1j * t / base ** (2 * i / n))
        result[first], result[second] = z.real, z.imag
    return result


def attention_values(
    inputs: HostArrays,
    heads: int,
    kv_heads: int,
    causal: bool = False,
    rotary: bool = False,
    path: str = "",
) -> HostArrays:
    """Return the output of attention: softmax and sum for each query, each key at a time."""
    x = inputs["x"]
    size = x.shape[2] // heads
    y = np.empty(x.shape)
    for sample in range(x.shape[0]):
        projected = _linear(x[sample].tolist(), inputs, path + "qkv.")
        attended: Rows = []
        for t in range(x.shape[1]):
            seen = [u for u in range(x.shape[1]) if _sees(inputs, sample, t, u, causal)]
            row: list[float] = []
            for head in range(heads):
                shared = head * kv_heads // heads
                q = _cut(projected[t], head, size)
                keys = [_cut(projected[u], heads + shared, size) for u in seen]
                values = [_cut(projected[u], heads + kv_heads + shared, size) for u in seen]
                if rotary:
                    q = turned(q, t)
                    keys = [turned(k, u) for k, u in zip(keys, seen, strict=True)]
                scores = [math.fsum(map(_times, q, k)) / math.sqrt(size) for k in keys]
                highest = max(scores, default=0.0)
                powers = [math.exp(s - highest) for s in scores]
                row += [
                    math.fsum(e * v[j] for e, v in zip(powers, values, strict=True))
                    / (math.fsum(powers) or 1.0)
                    for j in range(size)
                ]
            attended.append(row)
        y[sample] = _linear(attended, inputs, path + "out.")
    return {"y": y}


def feed_forward_values(inputs: HostArrays, path: str = "") -> HostArrays:
    """Return the output of two layers with GELU by tanh between them."""
    x = inputs["x"]
    hidden = _linear(x.reshape(-1, x.shape[-1]).tolist(), inputs, path + "up.")
    activated = [[gelu_by_tanh(a) for a in row] for row in hidden]
    return {"y": np.reshape(_linear(activated, inputs, path + "down."), x.shape)}


def block_values(
    inputs: HostArrays, heads: int, causal: bool, rotary: bool = False, path: str = ""
) -> HostArrays:
    """Return the output of a transformer block without dropout."""
    x = inputs["x"]
    normal = inputs | {"x": _normalized(x, inputs, path + "norm1.")}
    h = x + attention_values(normal, heads, heads, causal, rotary, path + "attention.")["y"]
    normal = inputs | {"x": _normalized(h, inputs, path + "norm2.")}
    return {"y": h + feed_forward_values(normal, path + "feed_forward.")["y"]}


def tied_values(inputs: HostArrays) -> HostArrays:
    """Return the products of the body's outputs, those of a linear layer, with the table."""
    table = inputs[PARAMETER + "embedding.weight"].tolist()
    ids = inputs["x"]
    h = _linear([table[v] for v in ids.ravel().tolist()], inputs, "body.")
    y = [[math.fsum(map(_times, row, entry)) for entry in table] for row in h]
    return {"y": np.reshape(y, (*ids.shape, len(table)))}


def _normalized(x: HostArray, inputs: HostArrays, path: str) -> HostArray:
    scale, bias = inputs[f"{PARAMETER}{path}scale"], inputs[f"{PARAMETER}{path}bias"]
    rows = [normalized(row) for row in x.reshape(-1, x.shape[-1]).tolist()]
    return np.reshape(rows, x.shape) * scale + bias


def _sees(inputs: HostArrays, sample: int, query: int, key: int, causal: bool) -> bool:
    """Return whether a query may see a key."""
    if causal and key > query:
        return False
    if "lengths" in inputs and key >= inputs["lengths"][sample]:
        return False
    return "mask" not in inputs or bool(inputs["mask"][sample, key])


def _cut(row: list[float], part: int, size: int) -> list[float]:
    return row[part * size : (part + 1) * size]


def _linear(rows: Rows, inputs: HostArrays, path: str) -> Rows:
    w: HostArray = inputs[f"{PARAMETER}{path}weight"]
    b = inputs.get(f"{PARAMETER}{path}bias", np.zeros(w.shape[1])).tolist()
    columns = w.T.tolist()
    return [
        [math.fsum(map(_times, row, column)) + b[j] for j, column in enumerate(columns)]
        for row in rows
    ]


def _times(a: float, b: float) -> float:
    return a * b

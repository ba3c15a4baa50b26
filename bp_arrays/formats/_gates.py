"""Parameters of recurrent layers: names, and orders of gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bp_arrays.typing import HostArray

ONNX_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
"""Which of our gates each of ONNX's is. LSTM: i, f, g, o here and in PyTorch, i, o, f, c there;
GRU: r, z, v here (n in PyTorch), z, r, h there."""


def suffixes(layer: Any) -> list[tuple[int, str]]:
    """Return the number of each layer and direction, and the ending of its parameters' names."""
    ends = ["", "_reverse"] if layer.bidirectional else [""]
    numbers = [(k, f"_{k}" if layer.layers > 1 else "") for k in range(layer.layers)]
    return [(k, number + end) for k, number in numbers for end in ends]


def reordered(array: HostArray, gates: Sequence[int]) -> HostArray:
    """Return the gates along the last axis in another order."""
    parts = np.split(array, len(gates), axis=-1)
    return np.concatenate([parts[gate] for gate in gates], axis=-1)

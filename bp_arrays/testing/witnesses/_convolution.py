"""Convolution and pooling, pixel by pixel, in plain Python floats."""

from __future__ import annotations

import math

import numpy as np

from bp_arrays.testing._case import PARAMETER
from bp_arrays.testing.witnesses._witness import HostArrays

Pair = tuple[int, int]


def conv2d_values(
    stride: Pair, padding: tuple[Pair, Pair], dilation: Pair, groups: int, inputs: HostArrays
) -> HostArrays:
    """y_nuvo = Σ_ijc x_n,su+di−p,sv+dj−q,c w_ijco + b_o; pixels outside the image are 0."""
    x, w = inputs["x"], inputs[PARAMETER + "weight"]
    b = inputs.get(PARAMETER + "bias")
    kh, kw, inputs_per_group, out = w.shape
    height = 1 + (x.shape[1] + sum(padding[0]) - dilation[0] * (kh - 1) - 1) // stride[0]
    width = 1 + (x.shape[2] + sum(padding[1]) - dilation[1] * (kw - 1) - 1) // stride[1]
    y = np.zeros((x.shape[0], height, width, out))
    for n, u, v, o in np.ndindex(y.shape):
        first = o // (out // groups) * inputs_per_group  # channel of the group's part of x
        terms = [0.0 if b is None else float(b[o])]
        for i, j, c in np.ndindex(kh, kw, inputs_per_group):
            row = stride[0] * u + dilation[0] * i - padding[0][0]
            column = stride[1] * v + dilation[1] * j - padding[1][0]
            if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                terms.append(float(x[n, row, column, first + c]) * float(w[i, j, c, o]))
        y[n, u, v, o] = math.fsum(terms)
    return {"y": y}

"""Convolution and pooling, pixel by pixel, in plain Python floats."""

from __future__ import annotations

import math

import numpy as np

from bp_arrays.testing._case import PARAMETER
from bp_arrays.testing.witnesses._witness import HostArrays

Pair = tuple[int, int]


Padding = tuple[Pair, Pair]


def conv2d_values(
    stride: Pair, padding: Padding, dilation: Pair, groups: int, inputs: HostArrays
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


def conv1d_values(
    stride: int, padding: Pair, dilation: int, groups: int, inputs: HostArrays
) -> HostArrays:
    """y_nuo = Σ_ic x_n,su+di−p,c w_ico + b_o; outside the signal there are zeros."""
    x, w, b = inputs["x"], inputs[PARAMETER + "weight"], inputs[PARAMETER + "bias"]
    taps, inputs_per_group, out = w.shape
    length = 1 + (x.shape[1] + sum(padding) - dilation * (taps - 1) - 1) // stride
    y = np.zeros((x.shape[0], length, out))
    for n, u, o in np.ndindex(y.shape):
        first = o // (out // groups) * inputs_per_group
        terms = [float(b[o])]
        for i, c in np.ndindex(taps, inputs_per_group):
            time = stride * u + dilation * i - padding[0]
            if 0 <= time < x.shape[1]:
                terms.append(float(x[n, time, first + c]) * float(w[i, c, o]))
        y[n, u, o] = math.fsum(terms)
    return {"y": y}


def transposed_values(
    size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int, inputs: HostArrays
) -> HostArrays:
    """Every pixel adds a multiple of the kernel to the output, of a given size."""
    x, w, b = inputs["x"], inputs[PARAMETER + "weight"], inputs[PARAMETER + "bias"]
    kh, kw, channels, out_per_group = w.shape
    per_group = channels // groups
    y = np.zeros((x.shape[0], *size, len(b))) + b
    for n, u, v, c in np.ndindex(x.shape):
        for i, j, o in np.ndindex(kh, kw, out_per_group):
            row = stride[0] * u + dilation[0] * i - padding[0][0]
            column = stride[1] * v + dilation[1] * j - padding[1][0]
            if 0 <= row < size[0] and 0 <= column < size[1]:
                y[n, row, column, c // per_group * out_per_group + o] += (
                    x[n, u, v, c] * w[i, j, c, o]
                )
    return {"y": y}


def pool_values(
    kind: str, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, inputs: HostArrays
) -> HostArrays:
    """Return the largest number or the mean of each window, and each error where it belongs.

    `kind` is "max", "mean" or "mean with padding". A signal is an image with one line.
    """
    shape = inputs["x"].shape
    x, delta = (a[:, None, ...] if a.ndim == 3 else a for a in (inputs["x"], inputs["delta"]))
    y, dx = np.zeros(delta.shape), np.zeros(x.shape)
    for n, u, v, c in np.ndindex(delta.shape):
        places = []
        for i, j in np.ndindex(kernel):
            row = stride[0] * u + dilation[0] * i - padding[0][0]
            column = stride[1] * v + dilation[1] * j - padding[1][0]
            if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                places.append((n, row, column, c))
        values = [float(x[place]) for place in places]
        if kind == "max":
            y[n, u, v, c] = max(values)
            dx[places[values.index(max(values))]] += delta[n, u, v, c]
            continue
        count = len(values) if kind == "mean" else kernel[0] * kernel[1]
        y[n, u, v, c] = math.fsum(values) / count
        for place in places:
            dx[place] += delta[n, u, v, c] / count
    return {"y": np.reshape(y, inputs["delta"].shape), "dx": np.reshape(dx, shape)}


def global_values(kind: str, inputs: HostArrays) -> HostArrays:
    """Return the largest number ("max") or the mean of each channel, and each error's place."""
    x, delta = inputs["x"], inputs["delta"]
    rows = np.reshape(x, (len(x), -1, x.shape[-1]))
    y, dx = np.zeros(delta.shape), np.zeros(rows.shape)
    for n, c in np.ndindex(delta.shape):
        values = rows[n, :, c].tolist()
        if kind == "max":
            y[n, c] = max(values)
            dx[n, values.index(max(values)), c] = delta[n, c]
        else:
            y[n, c] = math.fsum(values) / len(values)
            dx[n, :, c] = delta[n, c] / len(values)
    return {"y": y, "dx": np.reshape(dx, x.shape)}


def upsample_values(mode: str, factors: Pair, inputs: HostArrays) -> HostArrays:
    """Return the pixel nearest to each new center, or the value there by linear interpolation."""
    x = inputs["x"]
    y = np.zeros((x.shape[0], x.shape[1] * factors[0], x.shape[2] * factors[1], x.shape[3]))
    for n, u, v, c in np.ndindex(y.shape):
        near = [
            _neighbors(mode, place, factor, length)
            for place, factor, length in zip((u, v), factors, x.shape[1:3], strict=True)
        ]
        y[n, u, v, c] = math.fsum(
            a * b * float(x[n, i, j, c]) for i, a in near[0] for j, b in near[1]
        )
    return {"y": y}


def _neighbors(mode: str, place: int, factor: int, length: int) -> list[tuple[int, float]]:
    """Return the pixels along one axis that a new one is made of, with their weights."""
    if mode == "nearest":
        return [(place // factor, 1.0)]
    center = min(max((place + 0.5) / factor - 0.5, 0.0), length - 1.0)
    lower = min(math.floor(center), length - 1)
    return [(lower, 1.0 - (center - lower)), (min(lower + 1, length - 1), center - lower)]

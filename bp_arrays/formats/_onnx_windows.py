"""Functions that write convolutions and pooling: layers with windows on images and signals.

ONNX has the channels on the axis after the batch. Each function moves them there and back;
transpositions that follow each other cancel, so that they are left at the ends of such layers only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

import numpy as np

from bp_arrays.formats._onnx_graph import Graph, Value
from bp_arrays.typing import Shape

Sides = tuple[tuple[int, int], ...]
"""Lines added (before, after) on each axis of an image."""


def as_tuple(value: Any, axes: int) -> tuple[int, ...]:
    """Return a field of a layer, one number or one per axis, as one per axis."""
    return (value,) * axes if isinstance(value, int) else tuple(value)


def sides_of(layer: Any, size: Shape) -> Sides:
    """Return the lines that a layer adds around an image (height, width) or a signal (time,)."""
    axes = len(size)
    if layer.padding == "valid":
        return ((0, 0),) * axes
    if layer.padding != "same":
        return (layer.padding,) if axes == 1 else tuple(layer.padding)
    fields = (layer.kernel_size, layer.stride, getattr(layer, "dilation", 1))
    sides = []
    for n, k, s, d in zip(size, *(as_tuple(field, axes) for field in fields), strict=True):
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        sides.append((total // 2, total - total // 2))
    return tuple(sides)


def channels_first(x: Value, graph: Graph) -> Value:
    """Return (batch, channels, ...) of (batch, ..., channels)."""
    return graph.permute(x, (0, x.ndim - 1, *range(1, x.ndim - 1)))


def channels_last(x: Value, graph: Graph) -> Value:
    """Return (batch, ..., channels) of (batch, channels, ...)."""
    return graph.permute(x, (0, *range(2, x.ndim), 1))


def window_attributes(layer: Any, size: Shape) -> dict[str, list[int]]:
    """Return the attributes of an operator with windows."""
    axes, sides = len(size), sides_of(layer, size)
    attributes = {
        "kernel_shape": list(as_tuple(layer.kernel_size, axes)),
        "strides": list(as_tuple(layer.stride, axes)),
        "pads": [before for before, _ in sides] + [after for _, after in sides],
    }
    if hasattr(layer, "dilation"):
        attributes["dilations"] = list(as_tuple(layer.dilation, axes))
    return attributes


def kernel_first(w: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the weight (kernel..., in, out) of a convolution as (out, in, kernel...)."""
    return w.transpose(w.ndim - 1, w.ndim - 2, *range(w.ndim - 2))


def convolution(layer: Any, params: dict[str, Any], x: Value, graph: Graph) -> Value:
    """Write a convolution by the operator Conv, which ONNX Runtime has in float32 only."""
    w, shape = params["weight"], layer.init(x.shape[1:])[1]
    weight = graph.rearranged(kernel_first(w.numbers), "W", w)
    inputs = [channels_first(x, graph), weight, *([params["bias"]] if layer.bias else [])]
    attributes = window_attributes(layer, x.shape[1:-1]) | {"group": layer.groups}
    y = graph.node("Conv", *inputs, shape=(x.shape[0], shape[-1], *shape[:-1]), **attributes)
    return channels_last(y, graph)


def convolution_by_products(layer: Any, params: dict[str, Any], x: Value, graph: Graph) -> Value:
    """Write a convolution as a sum of products, one for each point of the kernel."""
    w, groups = params["weight"], layer.groups
    size, channels = x.shape[1:-1], x.shape[-1]
    kernel = as_tuple(layer.kernel_size, len(size))
    padded = _padded(x, sides_of(layer, size), 0.0, graph)
    positions = layer.init(x.shape[1:])[1][:-1]
    terms = []
    offsets = itertools.product(*map(range, kernel))
    for offset, part in zip(offsets, _slices(layer, padded, positions), strict=True):
        w_here = w[(*offset, ...)]  # (in / groups, out)
        if groups == 1:
            terms.append(part @ w_here)
            continue
        width, out = channels // groups, layer.out_channels // groups
        products = [
            part[..., g * width : (g + 1) * width] @ w_here[:, g * out : (g + 1) * out]
            for g in range(groups)
        ]
        shape = (*products[0].shape[:-1], layer.out_channels)
        terms.append(graph.node("Concat", *products, shape=shape, axis=x.ndim - 1))
    y: Value = reduce(Value.__add__, terms)
    return y + params["bias"] if layer.bias else y


def _padded(x: Value, sides: Sides, value: float, graph: Graph) -> Value:
    """Return an image with lines of a value around it."""
    if not any(map(any, sides)):
        return x
    pads = [0, *(before for before, _ in sides), 0, 0, *(after for _, after in sides), 0]
    size = tuple(n + sum(lines) for n, lines in zip(x.shape[1:-1], sides, strict=True))
    shape = (x.shape[0], *size, x.shape[-1])
    return graph.node("Pad", x, graph.integers(*pads), value, shape=shape)


def _slices(layer: Any, x: Value, positions: Sequence[int]) -> Iterator[Value]:
    """Yield what each point of the kernel covers of a padded image."""
    axes = len(positions)
    fields = (layer.kernel_size, layer.stride, getattr(layer, "dilation", 1))
    kernel, stride, dilation = (as_tuple(field, axes) for field in fields)
    for offset in itertools.product(*map(range, kernel)):
        cuts = [
            slice(i * d, i * d + s * (n - 1) + 1, s)
            for i, d, s, n in zip(offset, dilation, stride, positions, strict=True)
        ]
        yield x[(slice(None), *cuts, slice(None))]


def max_pooling(layer: Any, params: dict[str, Any], x: Value, graph: Graph) -> Value:
    """Write max-pooling by the operator MaxPool."""
    shape = layer.init(x.shape[1:])[1]
    attributes = window_attributes(layer, x.shape[1:-1])
    x = channels_first(x, graph)
    y = graph.node("MaxPool", x, shape=(x.shape[0], shape[-1], *shape[:-1]), **attributes)
    return channels_last(y, graph)

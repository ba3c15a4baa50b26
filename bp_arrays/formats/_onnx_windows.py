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

from bp_arrays.convolution import same_sides
from bp_arrays.formats._onnx_graph import Graph, Value
from bp_arrays.typing import Shape

Sides = tuple[tuple[int, int], ...]
"""Lines added (before, after) on each axis of an image."""


def as_tuple(value: Any, axes: int) -> tuple[int, ...]:
    """Return a field of a layer, one number or one per axis, as one per axis."""
    return (value,) * axes if isinstance(value, int) else tuple(value)


def steps_of(layer: Any, axes: int) -> tuple[tuple[int, ...], ...]:
    """Return kernel size, stride and dilation of a layer, each one number per axis."""
    kernel = as_tuple(layer.kernel_size, axes)
    stride = kernel if layer.stride is None else as_tuple(layer.stride, axes)
    return kernel, stride, as_tuple(getattr(layer, "dilation", 1), axes)


def sides_of(layer: Any, size: Shape) -> Sides:
    """Return the lines that a layer adds around an image (height, width) or a signal (time,)."""
    axes = len(size)
    if layer.padding == "valid":
        return ((0, 0),) * axes
    if layer.padding != "same":
        return (layer.padding,) if axes == 1 else tuple(layer.padding)
    return tuple(map(same_sides, size, *steps_of(layer, axes)))


def channels_first(x: Value, graph: Graph) -> Value:
    """Return (batch, channels, ...) of (batch, ..., channels)."""
    return graph.permute(x, (0, x.ndim - 1, *range(1, x.ndim - 1)))


def channels_last(x: Value, graph: Graph) -> Value:
    """Return (batch, ..., channels) of (batch, channels, ...)."""
    return graph.permute(x, (0, *range(2, x.ndim), 1))


def window_attributes(layer: Any, sides: Sides) -> dict[str, list[int]]:
    """Return the attributes of an operator with windows."""
    kernel, stride, dilation = steps_of(layer, len(sides))
    return {
        "kernel_shape": list(kernel),
        "strides": list(stride),
        "dilations": list(dilation),
        "pads": [before for before, _ in sides] + [after for _, after in sides],
    }


def kernel_first(w: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the weight (kernel..., in, out) of a convolution as (out, in, kernel...)."""
    return w.transpose(w.ndim - 1, w.ndim - 2, *range(w.ndim - 2))


def convolution(layer: Any, params: dict[str, Any], x: Value, graph: Graph) -> Value:
    """Write a convolution by the operator Conv, which ONNX Runtime has in float32 only."""
    w, shape = params["weight"], layer.init(x.shape[1:])[1]
    weight = graph.rearranged(kernel_first(w.numbers), "W", w)
    inputs = [channels_first(x, graph), weight, *([params["bias"]] if layer.bias else [])]
    attributes = window_attributes(layer, sides_of(layer, x.shape[1:-1])) | {"group": layer.groups}
    y = graph.node("Conv", *inputs, shape=(x.shape[0], shape[-1], *shape[:-1]), **attributes)
    return channels_last(y, graph)


def convolution_by_products(layer: Any, params: dict[str, Any], x: Value, graph: Graph) -> Value:
    """Write a convolution as a sum of products, one for each point of the kernel."""
    w, groups, size = params["weight"], layer.groups, x.shape[1:-1]
    kernel, stride, dilation = steps_of(layer, len(size))
    padded = _padded(x, sides_of(layer, size), graph)
    positions = layer.init(x.shape[1:])[1][:-1]
    out = layer.out_channels // groups
    parts = _slices(padded, kernel, stride, dilation, positions)
    offsets = itertools.product(*map(range, kernel))
    terms = [
        _grouped(part, [w[(*k, slice(None), slice(g * out, (g + 1) * out))] for g in range(groups)])
        for k, part in zip(offsets, parts, strict=True)
    ]
    y: Value = reduce(Value.__add__, terms)
    return y + params["bias"] if layer.bias else y


def _grouped(x: Value, weights: Sequence[Value]) -> Value:
    """Return the products of groups of channels with their weights, side by side."""
    if len(weights) == 1:
        return x @ weights[0]
    width, out = weights[0].shape
    products = [x[..., g * width : (g + 1) * width] @ w for g, w in enumerate(weights)]
    shape = (*x.shape[:-1], out * len(weights))
    return x.graph.node("Concat", *products, shape=shape, axis=x.ndim - 1)


def _cuts(layer: Any, size: Shape) -> tuple[Sides, tuple[int, ...]]:
    """Return the lines that a transposed convolution cuts off, and those it adds at the end."""
    kernel, stride, dilation = steps_of(layer, len(size))
    if layer.padding != "same":
        return sides_of(layer, size), as_tuple(layer.output_padding, len(size))
    larger = tuple(n * s for n, s in zip(size, stride, strict=True))
    added = [max(s - d * (k - 1) - 1, 0) for k, s, d in zip(kernel, stride, dilation, strict=True)]
    return tuple(map(same_sides, larger, kernel, stride, dilation)), tuple(added)


def transposed_convolution(layer: Any, params: dict[str, Any], x: Value, graph: Graph) -> Value:
    """Write a transposed convolution by ConvTranspose, which ONNX Runtime has in float32 only."""
    w, shape = params["weight"], layer.init(x.shape[1:])[1]
    weight = graph.rearranged(w.numbers.transpose(2, 3, 0, 1), "W", w)
    inputs = [channels_first(x, graph), weight, *([params["bias"]] if layer.bias else [])]
    cuts, added = _cuts(layer, x.shape[1:-1])
    attributes: dict[str, Any] = window_attributes(layer, cuts)
    attributes |= {"group": layer.groups, "output_padding": list(added)}
    shape_first = (x.shape[0], shape[-1], *shape[:-1])
    y = graph.node("ConvTranspose", *inputs, shape=shape_first, **attributes)
    return channels_last(y, graph)


def transposed_convolution_by_products(
    layer: Any, params: dict[str, Any], x: Value, graph: Graph
) -> Value:
    """Write a transposed convolution: zeros between the pixels, and products with the kernel."""
    size, channels = x.shape[1:-1], x.shape[-1]
    kernel, stride, dilation = steps_of(layer, len(size))
    cuts, added = _cuts(layer, size)
    for axis, s in enumerate(stride, 1):
        n = x.shape[axis]
        shape = (*x.shape[: axis + 1], s, *x.shape[axis + 1 :])
        one = (*x.shape[: axis + 1], 1, *x.shape[axis + 1 :])
        apart = graph.node("Unsqueeze", x, graph.integers(axis + 1), shape=one)
        pads = [0] * (2 * apart.ndim)
        pads[apart.ndim + axis + 1] = s - 1
        spread = graph.node("Pad", apart, graph.integers(*pads), 0.0, shape=shape)
        merged = (*x.shape[:axis], n * s, *x.shape[axis + 1 :])
        sizes = graph.integers(-1, *merged[1:])
        x = graph.node("Reshape", spread, sizes, shape=merged)
        x = x[(*(slice(None),) * axis, slice(0, (n - 1) * s + 1), ...)]
    sides = [
        (d * (k - 1) - before, d * (k - 1) - after + more)
        for k, d, (before, after), more in zip(kernel, dilation, cuts, added, strict=True)
    ]
    padded = _padded(x, tuple((max(a, 0), max(b, 0)) for a, b in sides), graph)
    inner = [
        slice(max(-before, 0), n - max(-after, 0))
        for n, (before, after) in zip(padded.shape[1:-1], sides, strict=True)
    ]
    padded = padded[(slice(None), *inner, slice(None))]
    positions = layer.init((*size, channels))[1][:-1]
    parts = _slices(padded, kernel, (1,) * len(size), dilation, positions)
    w, width = params["weight"], channels // layer.groups
    terms = []
    for offset, part in zip(itertools.product(*map(range, kernel)), parts, strict=True):
        turned = tuple(k - 1 - i for k, i in zip(kernel, offset, strict=True))
        rows = [slice(g * width, (g + 1) * width) for g in range(layer.groups)]
        terms.append(_grouped(part, [w[(*turned, row, slice(None))] for row in rows]))
    y: Value = reduce(Value.__add__, terms)
    return y + params["bias"] if layer.bias else y


def _padded(x: Value, sides: Sides, graph: Graph) -> Value:
    """Return an image with lines of zeros around it."""
    if not any(map(any, sides)):
        return x
    pads = [0, *(before for before, _ in sides), 0, 0, *(after for _, after in sides), 0]
    size = tuple(n + sum(lines) for n, lines in zip(x.shape[1:-1], sides, strict=True))
    shape = (x.shape[0], *size, x.shape[-1])
    return graph.node("Pad", x, graph.integers(*pads), 0.0, shape=shape)


def _slices(
    x: Value,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    positions: Sequence[int],
) -> Iterator[Value]:
    """Yield what each point of the kernel covers of a padded image."""
    for offset in itertools.product(*map(range, kernel)):
        cuts = [
            slice(i * d, i * d + s * (n - 1) + 1, s)
            for i, d, s, n in zip(offset, dilation, stride, positions, strict=True)
        ]
        yield x[(slice(None), *cuts, slice(None))]


def _pooling(operator: str, layer: Any, x: Value, graph: Graph, **further: Any) -> Value:
    shape = layer.init(x.shape[1:])[1]
    attributes = window_attributes(layer, sides_of(layer, x.shape[1:-1])) | further
    if operator == "AveragePool":
        del attributes["dilations"]
    first = channels_first(x, graph)
    shape_first = (x.shape[0], shape[-1], *shape[:-1])
    return channels_last(graph.node(operator, first, shape=shape_first, **attributes), graph)


def max_pooling(layer: Any, params: dict[str, Any], x: Value, graph: Graph) -> Value:
    """Write max-pooling by the operator MaxPool."""
    return _pooling("MaxPool", layer, x, graph)


def average_pooling(layer: Any, params: dict[str, Any], x: Value, graph: Graph) -> Value:
    """Write average pooling by AveragePool, which ONNX Runtime has in float32 only."""
    count = int(layer.count_padding)
    return _pooling("AveragePool", layer, x, graph, count_include_pad=count)


def global_pooling(operator: str) -> Any:
    """Return the function that writes a reduction over all positions."""

    def write(layer: Any, params: dict[str, Any], x: Value, graph: Graph) -> Value:
        first = channels_first(x, graph)
        axes = graph.integers(*range(2, x.ndim))
        return graph.node(operator, first, axes, shape=first.shape[:2], keepdims=0)

    return write


def upsampling(layer: Any, params: dict[str, Any], x: Value, graph: Graph) -> Value:
    """Write larger images by Resize, which ONNX Runtime has in float32 only."""
    first, shape = channels_first(x, graph), layer.init(x.shape[1:])[1]
    scales = graph.value(np.array([1.0, 1.0, *as_tuple(layer.factor, 2)], "float32"), "float32")
    mode = (
        {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        if layer.mode == "bilinear"
        else {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        }
    )
    shape_first = (x.shape[0], shape[-1], *shape[:-1])
    return channels_last(
        graph.node("Resize", first, None, scales, shape=shape_first, **mode), graph
    )

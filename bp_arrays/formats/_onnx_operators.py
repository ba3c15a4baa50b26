"""Functions that write layers by ONNX's own operators.

    write(layer, params, x, graph) -> y

All other layers are written by running their forward on the values of the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bp_arrays import activations, convolution, recurrence
from bp_arrays.formats import _onnx_windows as windows
from bp_arrays.formats._onnx_graph import Graph, Value
from bp_arrays.formats._onnx_recurrence import recurrence as write_recurrence
from bp_arrays.layers import Dropout, Flatten, Layer, Linear
from bp_arrays.normalization import BatchNorm, LayerNorm

Write = Callable[[Any, dict[str, Any], Value, Graph], Value]
"""(layer, its parameters as values, its input, the graph) -> its output."""


def _linear(layer: Linear, params: dict[str, Any], x: Value, graph: Graph) -> Value:
    bias = [params["bias"]] if layer.bias else []
    shape = (*x.shape[:-1], layer.out_features)
    if x.ndim == 2:
        return graph.node("Gemm", x, params["weight"], *bias, shape=shape)
    a = graph.node("MatMul", x, params["weight"], shape=shape)
    return graph.node("Add", a, *bias, shape=shape) if bias else a


def _flatten(layer: Flatten, params: dict[str, Any], x: Value, graph: Graph) -> Value:
    return graph.node("Flatten", x, shape=(x.shape[0], *layer.init(x.shape[1:])[1]), axis=1)


def _layer_norm(layer: LayerNorm, params: dict[str, Any], x: Value, graph: Graph) -> Value:
    scale = params["scale"] if layer.scale else np.ones(x.shape[-1:])
    bias = [params["bias"]] if layer.bias else []
    return graph.node(
        "LayerNormalization", x, scale, *bias, shape=x.shape, axis=-1, epsilon=layer.epsilon
    )


def _batch_norm(layer: BatchNorm, params: dict[str, Any], x: Value, graph: Graph) -> Value:
    channels = x.shape[-1:]
    scale = params["scale"] if layer.scale else np.ones(channels)
    bias = params["bias"] if layer.bias else np.zeros(channels)
    inputs = [scale, bias, params["mean"], params["variance"]]
    first = windows.channels_first(x, graph)
    y = graph.node("BatchNormalization", first, *inputs, shape=first.shape, epsilon=layer.epsilon)
    return windows.channels_last(y, graph)


def _identity(layer: Layer, params: dict[str, Any], x: Value, graph: Graph) -> Value:
    return x


def _elementwise(operator: str, **attributes: Any) -> Write:
    return lambda layer, params, a, graph: graph.elementwise(operator, a, **attributes)


def _over_last_axis(operator: str) -> Write:
    return lambda layer, params, a, graph: graph.node(operator, a, axis=-1)


OPERATORS: dict[type[Layer], Write] = {
    Linear: _linear,
    Flatten: _flatten,
    Dropout: _identity,  # in evaluation
    activations.Identity: _identity,
    activations.Sigmoid: _elementwise("Sigmoid"),
    activations.Tanh: _elementwise("Tanh"),
    activations.ReLU: _elementwise("Relu"),
    activations.Softmax: _over_last_axis("Softmax"),
    activations.LogSoftmax: _over_last_axis("LogSoftmax"),
    convolution.Conv1d: windows.convolution_by_products,
    convolution.Conv2d: windows.convolution_by_products,
    convolution.ConvTranspose2d: windows.transposed_convolution_by_products,
    convolution.GlobalAveragePool: windows.global_pooling("ReduceMean"),
    convolution.GlobalMaxPool: windows.global_pooling("ReduceMax"),
}
"""Accurate in every dtype."""

SINGLE_PRECISION: dict[type[Layer], Write] = {
    convolution.AveragePool1d: windows.average_pooling,
    convolution.AveragePool2d: windows.average_pooling,
    convolution.Conv1d: windows.convolution,
    convolution.Conv2d: windows.convolution,
    convolution.ConvTranspose2d: windows.transposed_convolution,
    convolution.MaxPool1d: windows.max_pooling,
    convolution.MaxPool2d: windows.max_pooling,
    convolution.Upsample: windows.upsampling,
    recurrence.GRU: write_recurrence,
    recurrence.LSTM: write_recurrence,
    recurrence.RNN: write_recurrence,
    BatchNorm: _batch_norm,
    LayerNorm: _layer_norm,
    activations.LeakyReLU: lambda layer, params, a, graph: graph.elementwise(
        "LeakyRelu", a, alpha=layer.negative_slope
    ),
    activations.ELU: lambda layer, params, a, graph: graph.elementwise("Elu", a, alpha=layer.alpha),
    activations.SELU: _elementwise("Selu"),
    activations.Softplus: _elementwise("Softplus"),
    activations.GELU: lambda layer, params, a, graph: graph.elementwise(
        "Gelu", a, approximate="none" if layer.exact else "tanh"
    ),
}
"""For float32 only: attributes of operators are float32 numbers, and ONNX Runtime implements most
of these for float32 only."""

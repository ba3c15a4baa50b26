"""Softmax over the last axis, h_k = e^a_k / Σ_j e^a_j, and its logarithm."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.errors import InputError
from bp_arrays.layers import Context, Layer, Specification
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


class _OverClasses(Layer):
    """Base of functions over the last axis, which each sample must have."""

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        if not input_shape:
            raise InputError(
                f"{type(self).__name__}(): expected samples with an axis of classes, got shape (), "
                "one number per sample; use Sigmoid()"
            )
        return {}, input_shape


@dataclass(frozen=True)
class Softmax(_OverClasses):
    """h_k = e^a_k / Σ_j e^a_j over the last axis; unchanged if one number is added to all a.

    ∂h_k/∂a_j = h_k (1[k = j] − h_j), so ∂L/∂a_j = h_j (δ_j − Σ_k δ_k h_k).

    For training use the loss CrossEntropy on the logits a, which is more accurate.
    """

    def forward(self, params: ParameterTree, a: Array, ctx: Context) -> tuple[Array, Backward]:
        xp = ctx.xp
        e = xp.exp(a - xp.max(a, axis=-1, keepdims=True))
        h = e / xp.sum(e, axis=-1, keepdims=True)

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            return h * (delta - xp.sum(delta * h, axis=-1, keepdims=True)), {}

        return h, backward


@dataclass(frozen=True)
class LogSoftmax(_OverClasses):
    """h_k = a_k − log Σ_j e^a_j over the last axis.

    ∂h_k/∂a_j = 1[k = j] − p_j with p = softmax(a), so ∂L/∂a_j = δ_j − p_j Σ_k δ_k.
    """

    def forward(self, params: ParameterTree, a: Array, ctx: Context) -> tuple[Array, Backward]:
        xp = ctx.xp
        shifted = a - xp.max(a, axis=-1, keepdims=True)
        e = xp.exp(shifted)
        total = xp.sum(e, axis=-1, keepdims=True)

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            return delta - (e / total) * xp.sum(delta, axis=-1, keepdims=True), {}

        return shifted - xp.log(total), backward

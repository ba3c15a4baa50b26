"""A net as a chain of stages for one sample: which follows which, and what each value is called.

A container whose parts pass one array on from each to the next is a chain, whatever its class: its
parts become stages. A residual block is y = x + f(x). Any other container is one stage, measured.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bp_arrays.activations import LogSoftmax, Softmax
from bp_arrays.attention import MultiHeadAttention
from bp_arrays.convolution import (
    AveragePool1d,
    AveragePool2d,
    Conv1d,
    Conv2d,
    MaxPool1d,
    MaxPool2d,
)
from bp_arrays.errors import InputError
from bp_arrays.explanation._attention_stages import attention_stages
from bp_arrays.explanation._convolution_stage import ConvolutionStage
from bp_arrays.explanation._naming import Name
from bp_arrays.explanation._notation import ELEMENTWISE
from bp_arrays.explanation._pooling_stage import PoolingStage
from bp_arrays.explanation._shared_weight_stages import PositionStage
from bp_arrays.explanation._stages import (
    ElementwiseStage,
    InnerLayer,
    LinearStage,
    MeasuredStage,
    PassingStage,
    ResidualStage,
    ScaledStage,
    SoftmaxStage,
    Stage,
    Vector,
)
from bp_arrays.explanation._visited import Visited
from bp_arrays.layers import (
    Context,
    Dropout,
    Flatten,
    Layer,
    Linear,
    Reshape,
    Residual,
    Standardize,
)
from bp_arrays.trees import described_tree, map_tree


def chain_of(net: Visited, context: Context) -> list[Stage]:
    """Return the stages of a net that a sample went through, in order."""
    chain = _Chain(context, _Names(*_count(net)))
    chain.add(net)
    return chain.stages


class _Names:
    """Gives out the names of values on the way through a net.

    x, a⁽¹⁾, h, a⁽²⁾, y for the two layers of the notes; h⁽¹⁾, h⁽²⁾ for more; h′ for what a second
    layer makes of h, z for what is made of x before any weights.
    """

    def __init__(self, linears: int, stages: int) -> None:
        self.linears, self.stages = linears, stages
        self.linear = self.seen = self.since = self.attentions = 0
        self.current = Name("x")

    def next(self, layer: Layer) -> tuple[Name, Name]:
        """The names of what goes into the next layer and of what comes out of it."""
        before = self.current
        self.seen += 1
        last = self.seen == self.stages
        if isinstance(layer, (Flatten, Reshape, Dropout)):  # changes no number: the name stays
            self.current = Name("y") if last and before.letter != "x" else before
            return before, self.current
        if isinstance(layer, Linear):
            self.linear, self.since = self.linear + 1, 0
            after = Name("a", self.linear)
        else:
            self.since += 1
            letter = ("h" if self.linear else "z") + "′" * (self.since - 1)
            alone = self.linears == 2 and self.linear == 1
            after = Name(letter, None if alone else self.linear or None)
        self.current = Name("y") if last else after
        return before, self.current

    def inside(self, before: Name) -> _Names:
        """The names inside a block that takes `before`: none of them is the output of the net."""
        names = _Names(self.linears, stages=0)
        names.linear, names.since, names.current = self.linear, self.since, before
        names.attentions = self.attentions
        return names

    def prime(self) -> str:
        """The mark of the names in the attention layer just met: none, ′, ′′."""
        self.attentions += 1
        return "′" * (self.attentions - 1)

    def weights(self) -> dict[str, Any]:
        """The names that go with the Linear layer just met: w and u, or numbered."""
        k, few = self.linear, self.linears <= 2
        return {
            "weight_name": Name("wu"[k - 1]) if few else Name("w", k),
            "bias_name": Name("b", k),
            "delta_name": Name("δ", k, r"\delta"),
        }


class _Chain:
    """Makes a stage of each layer that a sample went through."""

    def __init__(self, context: Context, names: _Names) -> None:
        self.context, self.names = context, names
        self.stages: list[Stage] = []

    def add(self, visited: Visited) -> None:
        """Add the stages of a layer."""
        if visited.is_chain:
            for part in visited.parts:
                self.add(part)
            return
        for array, is_input in ((visited.x, True), (visited.y, False)):
            if isinstance(array, (dict, tuple)):
                raise InputError(
                    f"explain: expected layers of one array, layer {visited.path or 'net'} "
                    f"({type(visited.layer).__name__}) {'takes' if is_input else 'returns'} "
                    f"{described_tree(map_tree(np.shape, array))}; several inputs and outputs are "
                    "not supported"
                )
        before, after = self.names.next(visited.layer)
        values: dict[str, Any] = {
            "layer": visited.layer,
            "path": visited.path,
            "params": visited.params,
            "x": np.ravel(visited.x),
            "y": np.ravel(visited.y),
            "x_name": before,
            "y_name": after,
            "shape": tuple(visited.x.shape[1:]),
            "inner": [
                InnerLayer(
                    part.path,
                    type(part.layer).__name__,
                    np.ravel(part.y),
                    None if part.delta is None else np.ravel(part.delta),
                )
                for part in visited.inner
                if not isinstance(part.y, (dict, tuple))
            ],
        }
        if isinstance(visited.layer, Residual):
            body = _Chain(self.context, self.names.inside(before))
            body.add(visited.parts[0])
            self.names.linear = body.names.linear
            self.names.attentions = body.names.attentions
            self.stages.append(ResidualStage(**values, body=body.stages))
            return
        if isinstance(visited.layer, MultiHeadAttention) and not visited.layer.rotary:
            self.stages += attention_stages(values, self.names.prime())
            return
        self.stages.append(self._stage(visited.layer, values, visited.x))

    def _stage(self, layer: Layer, values: dict[str, Any], x: Vector) -> Stage:
        if isinstance(layer, Linear) and x.ndim > 2:
            return PositionStage(**values)
        if isinstance(layer, Linear):
            return LinearStage(**values, **self.names.weights())
        if isinstance(layer, (Conv1d, Conv2d)):
            return ConvolutionStage(**values)
        if isinstance(layer, (AveragePool1d, AveragePool2d, MaxPool1d, MaxPool2d)):
            return PoolingStage(**values)
        if type(layer) in ELEMENTWISE:
            return ElementwiseStage(**values)
        if isinstance(layer, (Softmax, LogSoftmax)):
            return SoftmaxStage(**values)
        if isinstance(layer, Standardize):
            return ScaledStage(**values)
        if isinstance(layer, (Flatten, Reshape, Dropout)):
            return PassingStage(**values)
        return MeasuredStage(**values, context=self.context)


def _count(visited: Visited) -> tuple[int, int]:
    """How many Linear layers and how many stages a net has."""
    if visited.is_chain:
        counts = [_count(part) for part in visited.parts]
        return sum(c[0] for c in counts), sum(c[1] for c in counts)
    if isinstance(visited.layer, Residual):
        return _count(visited.parts[0])[0], 1
    return int(isinstance(visited.layer, Linear)), 1

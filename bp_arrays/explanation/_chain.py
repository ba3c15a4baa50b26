"""A net as a chain of stages for one sample: which follows which, and what each value is called."""

from __future__ import annotations

from typing import Any

import numpy as np

from bp_arrays.activations import LogSoftmax, Softmax
from bp_arrays.explanation._naming import Name
from bp_arrays.explanation._notation import ELEMENTWISE
from bp_arrays.explanation._stages import (
    ElementwiseStage,
    LinearStage,
    MeasuredStage,
    PassingStage,
    ResidualStage,
    ScaledStage,
    SoftmaxStage,
    Stage,
    Vector,
)
from bp_arrays.layers import (
    Context,
    Dropout,
    Flatten,
    Layer,
    Linear,
    Residual,
    Sequential,
    Standardize,
)
from bp_arrays.typing import ParameterTree


def chain_of(net: Layer, params: ParameterTree, x: Vector, context: Context) -> list[Stage]:
    """The stages of a net for one sample x (1, *input_shape), in order."""
    chain = _Chain(context, _Names(*_count(net)))
    chain.follow(net, "", params, x)
    return chain.stages


class _Names:
    """Gives out the names of values on the way through a net.

    x, a⁽¹⁾, h, a⁽²⁾, y for the two layers of the notes; h⁽¹⁾, h⁽²⁾ for more; h′ for what a second
    layer makes of h, z for what is made of x before any weights.
    """

    def __init__(self, linears: int, stages: int) -> None:
        self.linears, self.stages = linears, stages
        self.linear = self.seen = self.since = 0
        self.current = Name("x")

    def next(self, layer: Layer) -> tuple[Name, Name]:
        """The names of what goes into the next layer and of what comes out of it."""
        before = self.current
        self.seen += 1
        last = self.seen == self.stages
        if isinstance(layer, (Flatten, Dropout)):  # changes no number: the name stays
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
        return names

    def weights(self) -> dict[str, Any]:
        """The names that go with the Linear layer just met: w and u, or numbered."""
        k, few = self.linear, self.linears <= 2
        return {
            "weight_name": Name("wu"[k - 1]) if few else Name("w", k),
            "bias_name": Name("b", k),
            "delta_name": Name("δ", k, r"\delta"),
        }


class _Chain:
    """Follows a sample through a net and keeps a stage for each layer."""

    def __init__(self, context: Context, names: _Names) -> None:
        self.context, self.names = context, names
        self.stages: list[Stage] = []

    def follow(self, layer: Layer, path: str, params: ParameterTree, x: Vector) -> Vector:
        """What the layer makes of x."""
        if isinstance(layer, Sequential):
            for k, part in enumerate(layer):
                inner = f"{path}.{k}" if path else str(k)
                x = self.follow(part, inner, params.get(str(k), {}), x)
            return x
        y, _ = layer.forward(params, x, self.context)
        before, after = self.names.next(layer)
        values: dict[str, Any] = {
            "layer": layer,
            "path": path,
            "params": params,
            "x": np.ravel(x),
            "y": np.ravel(y),
            "x_name": before,
            "y_name": after,
            "shape": tuple(x.shape[1:]),
        }
        self.stages.append(self._stage(layer, values, x))
        return np.asarray(y)

    def _stage(self, layer: Layer, values: dict[str, Any], x: Vector) -> Stage:
        if isinstance(layer, Linear):
            return LinearStage(**values, **self.names.weights())
        if type(layer) in ELEMENTWISE:
            return ElementwiseStage(**values)
        if isinstance(layer, (Softmax, LogSoftmax)):
            return SoftmaxStage(**values)
        if isinstance(layer, Standardize):
            return ScaledStage(**values)
        if isinstance(layer, (Flatten, Dropout)):
            return PassingStage(**values)
        if isinstance(layer, Residual):
            body = _Chain(self.context, self.names.inside(values["x_name"]))
            body.follow(layer.body, values["path"], values["params"], x)
            self.names.linear = body.names.linear
            return ResidualStage(**values, body=body.stages)
        return MeasuredStage(**values, context=self.context)


def _count(net: Layer) -> tuple[int, int]:
    """How many Linear layers and how many stages a net has."""
    if isinstance(net, Sequential):
        counts = [_count(layer) for layer in net]
        return sum(c[0] for c in counts), sum(c[1] for c in counts)
    if isinstance(net, Residual):
        return _count(net.body)[0], 1
    return int(isinstance(net, Linear)), 1

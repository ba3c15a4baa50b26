"""A net as a chain of stages, each with its values for one sample and its derivative on paper.

A stage turns numbers x_j into numbers y_k. What the chain rule needs of it are the factors
∂y_k/∂x_j: `factors(j)` gives those of one input as terms that can be written out, `back(delta)`
applies all of them, δ_in_j = Σ_k δ_out_k ∂y_k/∂x_j. Neither asks the layer's own backward.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bp_arrays.activations import LogSoftmax, Softmax
from bp_arrays.explanation.expression import Difference, Number, Product, Symbol, Term
from bp_arrays.explanation.naming import Name
from bp_arrays.explanation.notation import ELEMENTWISE, ONE, softmax
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

Vector = np.ndarray[Any, Any]
STEP = float(np.finfo(np.float64).eps) ** (1 / 3)


@dataclass
class Stage(ABC):
    """One layer in the chain.

    Parameters
    ----------
    layer : Layer
    path : str
        Its place in the net: "0", "2.1".
    params : ParameterTree
    x, y : vectors
        What comes in and what goes out, of one sample, flattened.
    x_name, y_name : Name
        What they are called.
    shape : tuple of int
        The shape of x before it was flattened.
    """

    layer: Layer
    path: str
    params: ParameterTree
    x: Vector
    y: Vector
    x_name: Name
    y_name: Name
    shape: tuple[int, ...] = ()

    def input(self, j: int) -> Symbol:
        """x_j, counted from 0 here and from 1 on paper."""
        return _symbol(self.x_name, self.x, j)

    def output(self, k: int) -> Symbol:
        return _symbol(self.y_name, self.y, k)

    @abstractmethod
    def factors(self, j: int) -> list[tuple[int, Term]]:
        """(k, ∂y_k/∂x_j) for every output that x_j reaches."""

    @abstractmethod
    def back(self, delta: Vector) -> Vector:
        """∂L/∂x from ∂L/∂y."""

    @property
    def written(self) -> str:
        """What the stage does, in the notes' words."""
        return f"{self.y_name.text()} = {type(self.layer).__name__}({self.x_name.text()})"


@dataclass
class LinearStage(Stage):
    """a = xw + b: ∂a_k/∂x_j = w_jk."""

    number: int = 1
    weight_name: Name = field(default_factory=lambda: Name("w"))
    bias_name: Name = field(default_factory=lambda: Name("b"))
    delta_name: Name = field(default_factory=lambda: Name("δ"))

    @property
    def weight(self) -> Vector:
        w: Vector = self.params["weight"]
        return w

    def weight_symbol(self, i: int, j: int) -> Symbol:
        names = self.weight_name
        return Symbol(names.text(i + 1, j + 1), names.latex(i + 1, j + 1), float(self.weight[i, j]))

    def factors(self, j: int) -> list[tuple[int, Term]]:
        return [(k, self.weight_symbol(j, k)) for k in range(self.weight.shape[1])]

    def back(self, delta: Vector) -> Vector:
        result: Vector = self.weight @ delta
        return result

    @property
    def written(self) -> str:
        product = f"{self.y_name.text()} = {self.x_name.text()}{self.weight_name.text()}"
        return product + (f" + {self.bias_name.text()}" if "bias" in self.params else "")


@dataclass
class ElementwiseStage(Stage):
    """h_j = φ(a_j): only j reaches j, by φ'(a_j)."""

    def slope(self, j: int) -> Term:
        return ELEMENTWISE[type(self.layer)](self.layer, self.input(j), self.output(j))

    def factors(self, j: int) -> list[tuple[int, Term]]:
        return [(j, self.slope(j))]

    def slopes(self) -> Vector:
        """φ'(a_j) of every element."""
        return np.asarray([self.slope(j).value for j in range(self.x.size)])

    def back(self, delta: Vector) -> Vector:
        return delta * self.slopes()


@dataclass
class SoftmaxStage(Stage):
    """∂h_k/∂a_j = h_k (1[k = j] − h_j); of the logarithm 1[k = j] − p_j."""

    @property
    def takes_logarithm(self) -> bool:
        return isinstance(self.layer, LogSoftmax)

    def factors(self, j: int) -> list[tuple[int, Term]]:
        p = softmax(self.x)
        found: list[tuple[int, Term]] = []
        for k in range(self.y.size):
            same = Number(float(k == j), str(int(k == j)), str(int(k == j)))
            if self.takes_logarithm:
                name = Name("p", self.y_name.layer)
                found.append((k, Difference(same, _symbol(name, p, j))))
            else:
                found.append((k, Product([self.output(k), Difference(same, self.output(j))])))
        return found

    def back(self, delta: Vector) -> Vector:
        p = softmax(self.x)
        if self.takes_logarithm:
            return np.asarray(delta - p * np.sum(delta))
        return np.asarray(p * (delta - np.sum(delta * p)))


@dataclass
class ScaledStage(Stage):
    """z = (x − m) / s: ∂z_j/∂x_j = 1/s_j."""

    def factors(self, j: int) -> list[tuple[int, Term]]:
        s = float(np.ravel(self.params["deviation"])[j])
        return [(j, Symbol(f"1/{Name('s').text(j + 1)}", rf"1/{Name('s').latex(j + 1)}", 1.0 / s))]

    def back(self, delta: Vector) -> Vector:
        return np.asarray(delta / np.ravel(self.params["deviation"]))


@dataclass
class PassingStage(Stage):
    """What changes no number here: Flatten, and Dropout when nothing is trained."""

    def factors(self, j: int) -> list[tuple[int, Term]]:
        return [(j, ONE)]

    def back(self, delta: Vector) -> Vector:
        return delta


@dataclass
class ResidualStage(Stage):
    """y = x + f(x): two paths, the identity and the stages of f."""

    body: list[Stage] = field(default_factory=list)

    def factors(self, j: int) -> list[tuple[int, Term]]:
        rows = np.eye(self.y.size)
        slopes = [float(self.back(row)[j]) for row in rows]
        return _named_slopes(self, j, slopes)

    def back(self, delta: Vector) -> Vector:
        through = delta
        for stage in reversed(self.body):
            through = stage.back(through)
        return np.asarray(delta + through)


@dataclass
class MeasuredStage(Stage):
    """A layer nobody has written a formula for: its derivative by central differences."""

    context: Context = field(default_factory=lambda: Context(np))

    def factors(self, j: int) -> list[tuple[int, Term]]:
        return _named_slopes(self, j, self._row(j).tolist())

    def back(self, delta: Vector) -> Vector:
        return np.asarray([float(self._row(j) @ delta) for j in range(self.x.size)])

    def _row(self, j: int) -> Vector:
        h = STEP * max(1.0, abs(float(self.x[j])))
        above, below = self.x.copy(), self.x.copy()
        above[j] += h
        below[j] -= h
        rise = self._forward(above) - self._forward(below)
        return np.asarray(rise / (above[j] - below[j]))

    def _forward(self, x: Vector) -> Vector:
        y, _ = self.layer.forward(self.params, x.reshape((1, *self.shape)), self.context)
        return np.asarray(y).reshape(-1)


def stages_of(
    net: Layer, params: ParameterTree, x: Vector, context: Context, names: Names
) -> list[Stage]:
    """The chain of stages of a net for one sample x (1, *input_shape), in order."""
    found: list[Stage] = []
    _walk(net, "", params, x, context, names, found)
    return found


class Names:
    """Gives out the names of values on the way through a net."""

    def __init__(self, linears: int, stages: int) -> None:
        self.linears, self.stages = linears, stages
        self.linear = self.seen = self.since = 0
        self.current = Name("x")

    def next(self, layer: Layer) -> tuple[Name, Name]:
        """The names of what goes into the next layer and of what comes out of it."""
        before = self.current
        if isinstance(layer, (Flatten, Dropout)):
            self.seen += 1
            if self.seen == self.stages and before.letter != "x":
                self.current = Name("y")
            return before, self.current
        self.seen += 1
        if isinstance(layer, Linear):
            self.linear, self.since = self.linear + 1, 0
            after = Name("a", self.linear)
        else:
            self.since += 1
            marks = "′" * (self.since - 1)
            letter = "h" if self.linear else "z"
            layer_number = None if self.linears == 2 and self.linear == 1 else self.linear or None
            after = Name(letter + marks, layer_number)
        if self.seen == self.stages:
            after = Name("y")
        self.current = after
        return before, after


def count_layers(net: Layer) -> tuple[int, int]:
    """How many Linear layers and how many stages a net has."""
    if isinstance(net, Sequential):
        counts = [count_layers(layer) for layer in net]
        return sum(c[0] for c in counts), sum(c[1] for c in counts)
    if isinstance(net, Residual):
        return count_layers(net.body)[0], 1
    return int(isinstance(net, Linear)), 1


def _walk(
    layer: Layer,
    path: str,
    params: ParameterTree,
    x: Vector,
    context: Context,
    names: Names,
    found: list[Stage],
) -> Vector:
    if isinstance(layer, Sequential):
        for k, part in enumerate(layer):
            inner = f"{path}.{k}" if path else str(k)
            x = _walk(part, inner, params.get(str(k), {}), x, context, names, found)
        return x
    y, _ = layer.forward(params, x, context)
    before, after = names.next(layer)
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
    found.append(_stage(layer, values, x, context, names))
    return np.asarray(y)


def _stage(
    layer: Layer, values: dict[str, Any], x: Vector, context: Context, names: Names
) -> Stage:
    if isinstance(layer, Linear):
        k, few = names.linear, names.linears <= 2
        letter = ("w" if k == 1 else "u") if few else "w"
        return LinearStage(
            **values,
            number=k,
            weight_name=Name(letter, None if few else k),
            bias_name=Name("b", k),
            delta_name=Name("δ", k, r"\delta"),
        )
    if type(layer) in ELEMENTWISE:
        return ElementwiseStage(**values)
    if isinstance(layer, (Softmax, LogSoftmax)):
        return SoftmaxStage(**values)
    if isinstance(layer, Standardize):
        return ScaledStage(**values)
    if isinstance(layer, (Flatten, Dropout)):
        return PassingStage(**values)
    if isinstance(layer, Residual):
        body: list[Stage] = []
        inner = Names(10, 10**6)  # numbered, and none of them the output of the net
        inner.linear, inner.current = names.linear, values["x_name"]
        _walk(layer.body, values["path"], values["params"], x, context, inner, body)
        names.linear = inner.linear
        return ResidualStage(**values, body=body)
    return MeasuredStage(**values, context=context)


def _symbol(name: Name, values: Vector, k: int) -> Symbol:
    return Symbol(name.text(k + 1), name.latex(k + 1), float(values[k]))


def _named_slopes(stage: Stage, j: int, slopes: list[float]) -> list[tuple[int, Term]]:
    """∂y_k/∂x_j as a symbol, where there is no formula to write."""
    x = stage.input(j)
    return [
        (
            k,
            Symbol(
                f"∂{stage.output(k).text}/∂{x.text}",
                rf"\frac{{\partial {stage.output(k).latex}}}{{\partial {x.latex}}}",
                slope,
            ),
        )
        for k, slope in enumerate(slopes)
    ]

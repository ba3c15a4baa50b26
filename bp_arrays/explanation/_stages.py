"""A net as a chain of stages, each with its values for one sample and its derivative on paper.

A stage turns numbers x_j into numbers y_k. What the chain rule needs of it are the factors
∂y_k/∂x_j: `factors(j)` gives those of one input as terms that can be written out, `back(delta)`
applies all of them, δ_in_j = Σ_k δ_out_k ∂y_k/∂x_j. Neither asks the layer's own backward.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from bp_arrays.activations import LogSoftmax
from bp_arrays.explanation._differences import STEP, central_difference
from bp_arrays.explanation._expression import Difference, Number, Product, Symbol, Term, partial
from bp_arrays.explanation._naming import Name
from bp_arrays.explanation._notation import ELEMENTWISE, ONE, softmax
from bp_arrays.layers import Context, Layer
from bp_arrays.typing import ParameterTree

Vector = np.ndarray[Any, Any]

ROWS = 64
"""The derivatives by so many inputs are measured at once."""


@dataclass
class InnerLayer:
    """A layer in a container, as the sample and the error passed it.

    Parameters
    ----------
    path, kind : str
        Its place in the net, "1.left.0", and its class.
    output : vector
    delta : vector or None
        ∂L/∂(output) as the layers' backward gives it; None where no error comes back.
    """

    path: str
    kind: str
    output: Vector
    delta: Vector | None


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
    inner : list of InnerLayer
        The layers in this one.
    """

    layer: Layer
    path: str
    params: ParameterTree
    x: Vector
    y: Vector
    x_name: Name
    y_name: Name
    shape: tuple[int, ...] = ()
    inner: list[InnerLayer] = field(default_factory=list)
    abbreviated: ClassVar[bool] = False
    """Whether the errors of its outputs are written as symbols: written out they would be sums of
    sums."""

    def input(self, j: int) -> Symbol:
        """x_j, counted from 0 here and from 1 on paper."""
        return self.x_name.symbol(float(self.x[j]), j + 1)

    def output(self, k: int) -> Symbol:
        return self.y_name.symbol(float(self.y[k]), k + 1)

    def error(self, k: int, value: float) -> Symbol:
        """∂L/∂y_k."""
        return partial(Symbol("L", "L", 0.0), self.output(k), value)

    def parameter(self, leaf: str) -> str:
        """The name a parameter of this layer has in the model: "0.weight"."""
        return f"{self.path}.{leaf}" if self.path else leaf

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

    weight_name: Name = field(default_factory=lambda: Name("w"))
    bias_name: Name = field(default_factory=lambda: Name("b"))
    delta_name: Name = field(default_factory=lambda: Name("δ"))

    @property
    def weight(self) -> Vector:
        w: Vector = self.params["weight"]
        return w

    def weight_symbol(self, i: int, j: int) -> Symbol:
        return self.weight_name.symbol(float(self.weight[i, j]), i + 1, j + 1)

    def bias_symbol(self, j: int) -> Symbol:
        return self.bias_name.symbol(float(self.params["bias"][j]), j + 1)

    def delta_symbol(self, j: int, value: float) -> Symbol:
        """δ_j = ∂L/∂a_j."""
        return self.delta_name.symbol(value, j + 1)

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
        formula = ELEMENTWISE[type(self.layer)]
        pairs = zip(self.x.tolist(), self.y.tolist(), strict=True)
        return np.asarray(  # without names, which take longer than the numbers
            [formula(self.layer, Symbol("", "", a), Symbol("", "", h)).value for a, h in pairs]
        )

    def back(self, delta: Vector) -> Vector:
        return delta * self.slopes()


@dataclass
class SoftmaxStage(Stage):
    """∂h_k/∂a_j = h_k (1[k = j] − h_j), at each position; of the logarithm 1[k = j] − p_j."""

    @property
    def takes_logarithm(self) -> bool:
        return isinstance(self.layer, LogSoftmax)

    def factors(self, j: int) -> list[tuple[int, Term]]:
        classes = self.shape[-1]
        first = j - j % classes  # of its position
        p = softmax(self.x[first : first + classes])
        found: list[tuple[int, Term]] = []
        for k in range(first, first + classes):
            same = Number(float(k == j), str(int(k == j)), str(int(k == j)))
            if self.takes_logarithm:
                name = Name("p", self.y_name.layer)
                found.append((k, Difference(same, name.symbol(float(p[j - first]), j + 1))))
            else:
                found.append((k, Product([self.output(k), Difference(same, self.output(j))])))
        return found

    def back(self, delta: Vector) -> Vector:
        p = np.stack([softmax(row) for row in self.x.reshape((-1, self.shape[-1]))])
        errors = delta.reshape(p.shape)
        if self.takes_logarithm:
            dx = errors - p * np.sum(errors, axis=-1, keepdims=True)
        else:
            dx = p * (errors - np.sum(errors * p, axis=-1, keepdims=True))
        return np.asarray(dx).reshape(-1)


@dataclass
class ScaledStage(Stage):
    """z = (x − m) / s: ∂z_j/∂x_j = 1/s_j."""

    @property
    def scales(self) -> Vector:
        """s_j of every element: that of a feature, at each of its positions."""
        return np.ravel(np.broadcast_to(self.params["scale"], self.shape))

    def factors(self, j: int) -> list[tuple[int, Term]]:
        s = float(self.scales[j])
        name = Name("s").symbol(s, j + 1)
        return [(j, Symbol(f"1/{name.text}", f"1/{name.latex}", 1.0 / s))]

    def back(self, delta: Vector) -> Vector:
        return np.asarray(delta / self.scales)


@dataclass
class PassingStage(Stage):
    """What changes no number here: Flatten, Reshape, and Dropout when nothing is trained."""

    def factors(self, j: int) -> list[tuple[int, Term]]:
        return [(j, ONE)]

    def back(self, delta: Vector) -> Vector:
        return delta


@dataclass
class ResidualStage(Stage):
    """y = x + f(x): two paths, the identity and the stages of f."""

    abbreviated: ClassVar[bool] = True

    body: list[Stage] = field(default_factory=list)

    def factors(self, j: int) -> list[tuple[int, Term]]:
        rows = np.eye(self.y.size)
        slopes = [float(self.back(row)[j]) for row in rows]
        return _unwritten(self, j, slopes)

    def back(self, delta: Vector) -> Vector:
        through = delta
        for stage in reversed(self.body):
            through = stage.back(through)
        return np.asarray(delta + through)


@dataclass
class MeasuredStage(Stage):
    """A layer nobody has written a formula for: its derivative by central differences."""

    abbreviated: ClassVar[bool] = True

    context: Context = field(default_factory=lambda: Context(np))

    def factors(self, j: int) -> list[tuple[int, Term]]:
        return _unwritten(self, j, self._row(j).tolist())

    def back(self, delta: Vector) -> Vector:
        rows = [self._rows(start) @ delta for start in range(0, self.x.size, ROWS)]
        return np.concatenate(rows) if rows else np.zeros(0)

    def _rows(self, start: int) -> Vector:
        """Return ∂y/∂x_j, (j, k), for some j at once: one forward on as many samples."""
        numbers = np.arange(start, min(start + ROWS, self.x.size))
        steps = STEP * np.maximum(1.0, np.abs(self.x[numbers]))
        moved = np.tile(self.x, (2, numbers.size, 1))
        at = np.arange(numbers.size)
        moved[0, at, numbers] += steps
        moved[1, at, numbers] -= steps
        distances = moved[0, at, numbers] - moved[1, at, numbers]
        samples = moved.reshape((2 * numbers.size, *self.shape))
        y, _ = self.layer.forward(self.params, samples, self.context)
        above, below = np.asarray(y).reshape((2, numbers.size, -1))
        return np.asarray((above - below) / distances[:, None])

    def forward(self, x: Vector, params: ParameterTree) -> Vector:
        y, _ = self.layer.forward(params, x.reshape((1, *self.shape)), self.context)
        return np.asarray(y).reshape(-1)

    def _row(self, j: int) -> Vector:
        def output(value: float) -> Vector:
            moved = self.x.copy()
            moved[j] = value
            return self.forward(moved, self.params)

        return np.asarray(central_difference(output, float(self.x[j])))


def indexed_symbol(name: str, at: tuple[int, ...], value: float) -> Symbol:
    """Return the symbol of a weight by the name of its parameter and its indices from 0."""
    subscript = ",".join(str(i + 1) for i in at)
    label = name.replace("_", r"\_")
    return Symbol(f"{name}[{subscript}]", rf"\text{{{label}}}_{{{subscript}}}", value)


def _unwritten(stage: Stage, j: int, slopes: list[float]) -> list[tuple[int, Term]]:
    """∂y_k/∂x_j as a symbol, where there is no formula to write."""
    return [(k, partial(stage.output(k), stage.input(j), slope)) for k, slope in enumerate(slopes)]

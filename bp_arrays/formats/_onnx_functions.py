"""`Functions`: an array API namespace that writes the operations of a forward as ONNX nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from bp_arrays.formats._onnx_graph import BATCH, Graph, Shape, Value

ELEMENTWISE = {
    "abs": "Abs", "add": "Add", "ceil": "Ceil", "cos": "Cos", "divide": "Div", "exp": "Exp",
    "floor": "Floor", "log": "Log", "maximum": "Max", "minimum": "Min", "multiply": "Mul",
    "negative": "Neg", "pow": "Pow", "reciprocal": "Reciprocal", "sign": "Sign", "sin": "Sin",
    "sqrt": "Sqrt", "subtract": "Sub", "tanh": "Tanh",
}  # fmt: skip
CONDITIONS = {
    "equal": "Equal", "greater": "Greater", "greater_equal": "GreaterOrEqual", "isnan": "IsNaN",
    "less": "Less", "less_equal": "LessOrEqual", "logical_and": "And", "logical_not": "Not",
    "logical_or": "Or",
}  # fmt: skip
REDUCTIONS = {"max": "ReduceMax", "mean": "ReduceMean", "min": "ReduceMin", "sum": "ReduceSum"}


class OnnxFunctions:
    """The functions of the array API that ONNX has too; their arrays are values of a graph.

    Parameters
    ----------
    graph : Graph
        The graph to which every call adds its nodes.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.bool = "bool"
        self.float32, self.float64 = "float32", "float64"

    def __getattr__(self, name: str) -> Callable[..., Value]:
        if name in ELEMENTWISE:
            return lambda *arrays: self._graph.node(ELEMENTWISE[name], *arrays)
        if name in CONDITIONS:
            return lambda *arrays: self._graph.node(CONDITIONS[name], *arrays, dtype="bool")
        if name in REDUCTIONS:
            return lambda x, **options: self._reduce(REDUCTIONS[name], x, **options)
        raise AttributeError(f"xp.{name} has no counterpart in ONNX")

    def _reduce(
        self, operator: str, x: Value, axis: int | Shape | None = None, keepdims: bool = False
    ) -> Value:
        every = range(x.ndim)
        axes = every if axis is None else axis if isinstance(axis, tuple) else (axis,)
        reduced = {every[k] for k in axes}
        shape = tuple(
            1 if k in reduced else x.shape[k] for k in every if keepdims or k not in reduced
        )
        axes_value = self._graph.integers(*sorted(reduced))
        return self._graph.node(operator, x, axes_value, shape=shape, keepdims=int(keepdims))

    def where(self, condition: Value, x: Any, y: Any) -> Value:
        return self._graph.node("Where", condition, x, y)

    def matmul(self, x: Value, y: Value) -> Value:
        return x @ y

    def square(self, x: Value) -> Value:
        return x * x

    def clip(self, x: Value, min: Any = None, max: Any = None) -> Value:
        x = x if min is None else self.maximum(x, min)
        return x if max is None else self.minimum(x, max)

    def concat(self, arrays: Sequence[Value], *, axis: int = 0) -> Value:
        values = [self._graph.value(array) for array in arrays]
        shapes = [list(value.shape) for value in values]
        k = axis % values[0].ndim
        if any(shape[k] is BATCH for shape in shapes):
            raise TypeError("concat along the batch would change the number of rows")
        size = sum(shape.pop(k) for shape in shapes)
        if any(shape != shapes[0] for shape in shapes):
            raise TypeError(f"no concat of shapes {', '.join(str(v.shape) for v in values)}")
        shape = (*shapes[0][:k], size, *shapes[0][k:])
        return self._graph.node("Concat", *values, shape=shape, axis=k)

    def expm1(self, x: Value) -> Value:
        """Return eˣ − 1 = 2 t / (1 − t) with t = tanh(x/2), which does not cancel for x <= 1."""
        t = self.tanh(self.minimum(x, 1.0) * 0.5)
        return self.where(x > 1.0, self.exp(x) - 1.0, 2.0 * t / (1.0 - t))

    def log1p(self, x: Value) -> Value:
        """Return log(1 + x) = log(u) x / (u − 1) with u the rounded 1 + x.

        Source: Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 1.14.1.
        """
        u = 1.0 + x
        is_one = self.equal(u, 1.0)
        return self.where(is_one, x, self.log(u) * (x / self.where(is_one, 1.0, u - 1.0)))

    def astype(self, x: Value, dtype: str) -> Value:
        from numpy import dtype as numpy_dtype
        from onnx.helper import np_dtype_to_tensor_dtype

        if dtype not in ("bool", self._graph.dtype):
            raise TypeError(f"astype to {dtype!r} in a graph of {self._graph.dtype}")
        code = np_dtype_to_tensor_dtype(numpy_dtype(dtype))
        return self._graph.node("Cast", x, dtype=dtype, to=code)

    def reshape(self, x: Value, shape: Shape) -> Value:
        """Reshape; the batch must stay the first axis, and one other size may be −1."""
        has_batch = x.ndim > 0 and x.shape[0] is BATCH
        if has_batch != (len(shape) > 0 and shape[0] is BATCH):
            raise TypeError(f"reshape from {x.shape} to {shape} does not keep the batch in front")
        rest, size = list(shape[has_batch:]), math.prod(x.shape[has_batch:])
        if -1 in rest:
            rest[rest.index(-1)] = size // -math.prod(rest)
        if math.prod(rest) != size:
            raise TypeError(f"reshape from {x.shape} to {shape} changes the number of values")
        batch = [0] if has_batch else []  # in ONNX 0 keeps the size of an axis
        numbers = self._graph.integers(*batch, *rest)
        return self._graph.node("Reshape", x, numbers, shape=(*x.shape[:has_batch], *rest))

"""`Graph`: an ONNX graph under construction; `Value`: an array in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from bp_arrays.errors import InputError

OPSET = 20
"""The version of ONNX's operators: the first that has Gelu."""

IR_VERSION = 9
"""The version of the file format: that of OPSET, so that older readers open it too."""

Shape = tuple[Any, ...]
"""Integers, and BATCH for the number of rows."""


class BatchSize:
    """The number of rows, unknown in a graph: it can be part of a shape but not of arithmetic."""

    def __repr__(self) -> str:
        return "batch"


BATCH = BatchSize()


class Graph:
    """A list of nodes, each of which reads values of earlier nodes.

    Parameters
    ----------
    dtype : str
        "float32" or "float64", for all numbers.
    """

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self._scope = ""
        self.nodes: list[Any] = []
        self.parameters: list[Any] = []
        self._taken: set[str] = set()

    def node(
        self,
        operator: str,
        *inputs: Any,
        shape: Shape | None = None,
        dtype: str | None = None,
        **attributes: Any,
    ) -> Value:
        """Apply an ONNX operator and return its result.

        Parameters
        ----------
        operator : str
            Its name in the ONNX standard, such as "Gemm".
        *inputs : Value, number or NumPy array
        shape : tuple, optional
            Of the result; by default the broadcast shape of the inputs.
        dtype : str, optional
            Of the result; by default the graph's.
        **attributes
            The operator's.
        """
        from onnx.helper import make_node

        values = [self.value(each) for each in inputs]
        if shape is None:
            shape = broadcast(*(value.shape for value in values))
        result = Value(self, self.fresh(self._scope + operator), shape, dtype or self.dtype)
        names = [value.name for value in values]
        self.nodes.append(make_node(operator, names, [result.name], result.name, **attributes))
        return result

    def parameter(self, name: str, array: np.ndarray[Any, Any]) -> Value:
        """Add a parameter of the model, as an initializer of the graph with its name."""
        from onnx.numpy_helper import from_array

        array = np.ascontiguousarray(array, dtype=self.dtype).reshape(array.shape)
        self.parameters.append(from_array(array, name))
        self._taken.add(name)
        return Value(self, name, array.shape, self.dtype)

    def input(self, name: str, shape: Shape) -> Value:
        """Return the input of the graph."""
        return Value(self, self.fresh(name), shape, self.dtype)

    def value(self, number: Any) -> Value:
        """Return a value unchanged, a number or an array as a constant."""
        from onnx.helper import make_node
        from onnx.numpy_helper import from_array

        if isinstance(number, Value):
            return number
        array = np.asarray(number)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{number!r:.60} is neither an array nor a number")
        if array.dtype.kind != "b":
            array = array.astype(self.dtype)
        return self._constant(make_node, from_array(array), array.shape, array.dtype.name)

    def integers(self, *numbers: int) -> Value:
        """Return a list of integers as a constant, for the axes and shapes of operators."""
        from onnx.helper import make_node
        from onnx.numpy_helper import from_array

        tensor = from_array(np.asarray(numbers, dtype=np.int64))
        return self._constant(make_node, tensor, (len(numbers),), "int64")

    def rename(self, old: str, new: str) -> None:
        """Rename a value in all nodes."""
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [new if name == old else name for name in names]

    @contextmanager
    def scope(self, path: str) -> Iterator[None]:
        """Prefix the names of new nodes with the path of a part of the net."""
        outer, self._scope = self._scope, f"{path}." if path else ""
        try:
            yield
        finally:
            self._scope = outer

    def fresh(self, name: str) -> str:
        """Return the name, with a number if it is taken."""
        unique, k = name, 1
        while unique in self._taken:
            k += 1
            unique = f"{name}_{k}"
        self._taken.add(unique)
        return unique

    def _constant(self, make_node: Any, tensor: Any, shape: Shape, dtype: str) -> Value:
        name = self.fresh(f"{self._scope}Constant")
        self.nodes.append(make_node("Constant", [], [name], name, value=tensor))
        return Value(self, name, shape, dtype)


class Value:
    """An array that exists when the graph runs; operations on it become nodes.

    Parameters
    ----------
    graph : Graph
    name : str
    shape : tuple of int, with BATCH for the number of rows
    dtype : str
    """

    __array_ufunc__ = None  # so that NumPy's operators defer to these

    def __init__(self, graph: Graph, name: str, shape: Shape, dtype: str) -> None:
        self.graph, self.name, self.shape, self.dtype = graph, name, shape, dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def T(self) -> Value:
        if self.ndim != 2:
            raise TypeError(f".T is for matrices, not for shape {self.shape}")
        return self.graph.node("Transpose", self, shape=self.shape[::-1], perm=[1, 0])

    def __add__(self, other: Any) -> Value:
        return self.graph.node("Add", self, other)

    def __radd__(self, other: Any) -> Value:
        return self.graph.node("Add", other, self)

    def __sub__(self, other: Any) -> Value:
        return self.graph.node("Sub", self, other)

    def __rsub__(self, other: Any) -> Value:
        return self.graph.node("Sub", other, self)

    def __mul__(self, other: Any) -> Value:
        return self.graph.node("Mul", self, other)

    def __rmul__(self, other: Any) -> Value:
        return self.graph.node("Mul", other, self)

    def __truediv__(self, other: Any) -> Value:
        return self.graph.node("Div", self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return self.graph.node("Div", other, self)

    def __pow__(self, other: Any) -> Value:
        return self.graph.node("Pow", self, other)

    def __rpow__(self, other: Any) -> Value:
        return self.graph.node("Pow", other, self)

    def __neg__(self) -> Value:
        return self.graph.node("Neg", self)

    def __pos__(self) -> Value:
        return self

    def __abs__(self) -> Value:
        return self.graph.node("Abs", self)

    def __matmul__(self, other: Any) -> Value:
        other = self.graph.value(other)
        if self.ndim < 2 or other.ndim != 2 or self.shape[-1] != other.shape[0]:
            raise TypeError(f"no matrix product of shapes {self.shape} and {other.shape}")
        return self.graph.node("MatMul", self, other, shape=(*self.shape[:-1], other.shape[1]))

    def __lt__(self, other: Any) -> Value:
        return self.graph.node("Less", self, other, dtype="bool")

    def __le__(self, other: Any) -> Value:
        return self.graph.node("LessOrEqual", self, other, dtype="bool")

    def __gt__(self, other: Any) -> Value:
        return self.graph.node("Greater", self, other, dtype="bool")

    def __ge__(self, other: Any) -> Value:
        return self.graph.node("GreaterOrEqual", self, other, dtype="bool")

    def __eq__(self, other: Any) -> Value:  # type: ignore[override]
        return self.graph.node("Equal", self, other, dtype="bool")

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise TypeError("a graph cannot branch on values: use xp.where")

    def __repr__(self) -> str:
        return f"Value({self.name!r}, shape={self.shape}, dtype={self.dtype!r})"


def broadcast(*shapes: Shape) -> Shape:
    """Return the shape to which arrays of these shapes are broadcast.

    Raises
    ------
    InputError
        If they do not fit each other.
    """
    result: list[Any] = []
    for k in range(-max(map(len, shapes), default=0), 0):
        sizes = [shape[k] for shape in shapes if len(shape) >= -k]
        larger = [size for size in sizes if size is BATCH or size != 1]
        if any(size is not larger[0] and size != larger[0] for size in larger):
            raise InputError(f"shapes {', '.join(map(str, shapes))} do not fit each other")
        result.append(larger[0] if larger else 1)
    return tuple(result)

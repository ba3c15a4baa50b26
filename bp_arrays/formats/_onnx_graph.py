"""An ONNX graph that is being written, and the values that flow through it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from bp_arrays.errors import InputError

OPSET = 20
"""The version of ONNX's operators: the first that has Gelu."""

IR_VERSION = 9
"""The version of the file format that goes with it, so that older readers open it too."""

Shape = tuple[Any, ...]
"""Integers, and BATCH where the number of rows stands."""


class BatchSize:
    """The number of rows, which a graph leaves open: it can be handed on, not computed with."""

    def __repr__(self) -> str:
        return "batch"


BATCH = BatchSize()


class Graph:
    """Nodes one after the other, each taking values that came before.

    Parameters
    ----------
    dtype : str
        "float32" or "float64", of every number in it.
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
        """Apply an ONNX operator.

        Parameters
        ----------
        operator : str
            Its name in the ONNX standard, such as "Gemm".
        *inputs : Value, number or NumPy array
        shape : tuple, optional
            Of the result; by default what the inputs' shapes broadcast to.
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
        """A parameter of the model under its own name, as an initializer of the graph."""
        from onnx.numpy_helper import from_array

        array = np.ascontiguousarray(array, dtype=self.dtype).reshape(array.shape)
        self.parameters.append(from_array(array, name))
        self._taken.add(name)
        return Value(self, name, array.shape, self.dtype)

    def input(self, name: str, shape: Shape) -> Value:
        """What comes into the graph."""
        return Value(self, self.fresh(name), shape, self.dtype)

    def value(self, number: Any) -> Value:
        """A value as it is; a number or an array as a constant."""
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
        """A list of integers, as operators take axes and shapes."""
        from onnx.helper import make_node
        from onnx.numpy_helper import from_array

        tensor = from_array(np.asarray(numbers, dtype=np.int64))
        return self._constant(make_node, tensor, (len(numbers),), "int64")

    def rename(self, old: str, new: str) -> None:
        """Give a value another name wherever it stands."""
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [new if name == old else name for name in names]

    @contextmanager
    def scope(self, path: str) -> Iterator[None]:
        """Let what is written meanwhile bear the path of a part of the net."""
        outer, self._scope = self._scope, f"{path}." if path else ""
        try:
            yield
        finally:
            self._scope = outer

    def fresh(self, name: str) -> str:
        """The name itself, or with a number if it is taken."""
        found, k = name, 1
        while found in self._taken:
            k += 1
            found = f"{name}_{k}"
        self._taken.add(found)
        return found

    def _constant(self, make_node: Any, tensor: Any, shape: Shape, dtype: str) -> Value:
        name = self.fresh(f"{self._scope}Constant")
        self.nodes.append(make_node("Constant", [], [name], name, value=tensor))
        return Value(self, name, shape, dtype)


class Value:
    """An array that will be there when the graph runs; what is done to it becomes nodes.

    Parameters
    ----------
    graph : Graph
    name : str
    shape : tuple of int, with BATCH for the number of rows
    dtype : str
    """

    __array_ufunc__ = None  # NumPy's operators leave the work to ours

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
        raise TypeError("a graph cannot branch on numbers that are not there yet: use xp.where")

    def __repr__(self) -> str:
        return f"Value({self.name!r}, shape={self.shape}, dtype={self.dtype!r})"


def broadcast(*shapes: Shape) -> Shape:
    """The shape that arrays of these shapes are broadcast to.

    Raises
    ------
    InputError
        If they do not fit each other.
    """
    result: list[Any] = []
    for k in range(-max(map(len, shapes), default=0), 0):
        sizes = [shape[k] for shape in shapes if len(shape) >= -k]
        long = [size for size in sizes if size is BATCH or size != 1]
        if any(size is not long[0] and size != long[0] for size in long):
            raise InputError(f"shapes {', '.join(map(str, shapes))} do not fit each other")
        result.append(long[0] if long else 1)
    return tuple(result)

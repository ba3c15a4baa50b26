"""`Graph`: an ONNX graph under construction; `Value`: an array in it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from bp_arrays.formats._onnx_shapes import BATCH, BatchSize, Shape, broadcast, indexed

OPSET = 20
"""The version of ONNX's operators: the first that has Gelu."""

IR_VERSION = 9
"""The version of the file format: that of OPSET, so that older readers open it too."""


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
        self.inputs: list[Value] = []
        self._tensors: dict[str, Any] = {}
        self._replaced: set[str] = set()
        self._taken: set[str] = set()

    @property
    def parameters(self) -> list[Any]:
        """The initializers: the parameters of the model, some as an operator wants them."""
        used = {name for node in self.nodes for name in node.input}
        return [
            tensor
            for name, tensor in self._tensors.items()
            if name in used or name not in self._replaced
        ]

    def node(
        self,
        operator: str,
        *inputs: Any,
        shape: Shape | None = None,
        dtype: Any = None,
        **attributes: Any,
    ) -> Value:
        """Apply an ONNX operator and return its result.

        Parameters
        ----------
        operator : str
            Its name in the ONNX standard, such as "Gemm".
        *inputs : Value, number, NumPy array, or None for an optional input
        shape : tuple, optional
            Of the result; by default the broadcast shape of the inputs.
        dtype : str, optional
            Of the result; by default the graph's.
        **attributes
            The operator's.
        """
        values = [None if each is None else self.value(each) for each in inputs]
        if shape is None:
            shape = broadcast(*(value.shape for value in values if value is not None))
        [result] = self._add(operator, values, [(shape, dtype or self.dtype)], attributes)
        return result

    def outputs(
        self, operator: str, *inputs: Any, shapes: Sequence[Shape], **attributes: Any
    ) -> list[Value]:
        """Apply an ONNX operator and return its first results, which have the graph's dtype.

        Parameters
        ----------
        operator : str
        *inputs : Value, number, NumPy array, or None for an optional input
        shapes : list of tuples
            Of the results.
        **attributes
            The operator's.
        """
        values = [None if each is None else self.value(each) for each in inputs]
        return self._add(operator, values, [(shape, self.dtype) for shape in shapes], attributes)

    def elementwise(
        self, operator: str, *inputs: Any, dtype: Any = None, **attributes: Any
    ) -> Value:
        """Apply an operator that acts on each number alone, with the dtypes of the array API.

        Numbers take the dtype of the arrays, integers of several sizes become the largest. If all
        arrays are transpositions alike, their originals enter the operator: a net of convolutions
        is transposed at its ends, not at every layer.
        """
        values = self._alike(inputs)
        arrays = [value for value in values if value.shape != ()]
        origins = [value.origin for value in arrays]
        if (
            origins
            and origins[0] is not None
            and all(origin is not None and origin[1] == origins[0][1] for origin in origins)
            and all(value.shape == arrays[0].shape for value in arrays)
        ):
            axes = origins[0][1]
            values = [value.origin[0] if value.origin else value for value in values]
            y = self.node(operator, *values, dtype=dtype or values[-1].dtype, **attributes)
            return self.permute(y, axes)
        return self.node(operator, *values, dtype=dtype or values[-1].dtype, **attributes)

    def permute(self, x: Value, axes: Sequence[int]) -> Value:
        """Return x with its axes in another order; a transposition of a transposition is one."""
        source, axes = x, tuple(range(x.ndim)[axis] for axis in axes)
        if x.origin is not None:
            source, before = x.origin
            axes = tuple(before[axis] for axis in axes)
        if axes == tuple(range(x.ndim)):
            return source
        shape = tuple(source.shape[axis] for axis in axes)
        y = self.node("Transpose", source, shape=shape, dtype=source.dtype, perm=list(axes))
        y.origin = source, axes
        return y

    def parameter(self, name: str, array: np.ndarray[Any, Any]) -> Value:
        """Add a parameter of the model, as an initializer of the graph with its name."""
        from onnx.numpy_helper import from_array

        array = np.ascontiguousarray(array, dtype=self.dtype).reshape(array.shape)
        self._tensors[name] = from_array(array, name)
        self._taken.add(name)
        value = Value(self, name, array.shape, self.dtype)
        value.array = array
        return value

    def rearranged(self, array: np.ndarray[Any, Any], name: str, *parameters: Value) -> Value:
        """Return parameters in the arrangement of an operator's input, as an initializer.

        Parameters
        ----------
        array : NumPy array
        name : str
            Of the operator's input: the initializer is named after it and the first parameter.
        *parameters : Value
            Those rearranged, which are left out of the file unless something else uses them.
        """
        self._replaced.update(parameter.name for parameter in parameters)
        return self.parameter(self.fresh(f"{parameters[0].name}.{name}"), array)

    def input(self, name: str, shape: Shape, dtype: Any = None) -> Value:
        """Return an input of the graph."""
        value = Value(self, self.fresh(name), shape, dtype or self.dtype)
        self.inputs.append(value)
        return value

    def value(self, number: Any, dtype: Any = None) -> Value:
        """Return a value unchanged, a number or an array as a constant.

        Numbers that are not booleans are cast to `dtype`, by default the graph's.
        """
        from onnx.helper import make_node
        from onnx.numpy_helper import from_array

        if isinstance(number, Value):
            return number
        array = np.asarray(number)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{number!r:.60} is neither an array nor a number")
        if array.dtype.kind != "b":
            array = array.astype(dtype or self.dtype)
        return self._constant(make_node, from_array(array), array.shape, array.dtype)

    def integers(self, *numbers: int) -> Value:
        """Return a list of integers as a constant, for the axes and shapes of operators."""
        from onnx.helper import make_node
        from onnx.numpy_helper import from_array

        tensor = from_array(np.asarray(numbers, dtype=np.int64))
        return self._constant(make_node, tensor, (len(numbers),), "int64")

    def sizes(self, shape: Shape) -> Value:
        """Return a shape as a value; the number of rows is known when the graph runs."""
        if not any(isinstance(size, BatchSize) for size in shape):
            return self.integers(*shape)
        rows = self.node("Shape", self.inputs[0], shape=(1,), dtype="int64", start=0, end=1)
        parts = []
        for size in shape:
            if not isinstance(size, BatchSize):
                parts.append(self.integers(size))
            elif size.factor == 1:
                parts.append(rows)
            else:
                parts.append(self.elementwise("Mul", rows, size.factor))
        if len(parts) == 1:
            return parts[0]
        return self.node("Concat", *parts, shape=(len(parts),), dtype="int64", axis=0)

    def expand(self, x: Value, shape: Shape) -> Value:
        """Return x broadcast to a shape."""
        if x.shape == tuple(shape):
            return x
        return self.node("Expand", x, self.sizes(shape), shape=tuple(shape), dtype=x.dtype)

    def cast(self, x: Any, dtype: Any) -> Value:
        """Return a value in another dtype; unchanged if it has it."""
        from onnx.helper import np_dtype_to_tensor_dtype

        dtype, value = np.dtype(dtype), self.value(x)
        if value.dtype == dtype:
            return value
        if dtype not in ("bool", "int32", "int64", "float32", "float64"):
            raise TypeError(f"no cast to {dtype} in a graph of {self.dtype}")
        if value.origin is not None:
            return self.permute(self.cast(value.origin[0], dtype), value.origin[1])
        return self.node("Cast", value, dtype=dtype, to=np_dtype_to_tensor_dtype(dtype))

    def rename(self, old: str, new: str) -> None:
        """Rename a value in all nodes."""
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [new if name == old else name for name in names]

    def prune(self, outputs: Sequence[Value]) -> None:
        """Remove the nodes that the outputs do not depend on, such as those for a backward pass."""
        needed = {output.name for output in outputs}
        kept = []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        self.nodes = kept[::-1]

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

    def _alike(self, inputs: Sequence[Any]) -> list[Value]:
        """Return the inputs of an elementwise operator, all in one dtype; conditions stay so."""
        dtypes = [each.dtype for each in inputs if isinstance(each, Value)]
        numeric = [dtype for dtype in dtypes if dtype != "bool"]
        if len({dtype.kind for dtype in numeric}) > 1:
            raise TypeError("an operation on integers and floats: convert with xp.astype")
        common = np.result_type(*numeric) if numeric else None
        values = []
        for each in inputs:
            if isinstance(each, Value):
                values.append(each if each.dtype == "bool" else self.cast(each, common))
                continue
            array = np.asarray(each)
            if array.dtype.kind == "f" and common is not None and common.kind == "i":
                raise TypeError("an operation on integers and floats: convert with xp.astype")
            values.append(self.value(array if array.dtype.kind in "biuf" else each, common))
        return values

    def _add(
        self,
        operator: str,
        values: Sequence[Value | None],
        results: Sequence[tuple[Shape, Any]],
        attributes: dict[str, Any],
    ) -> list[Value]:
        from onnx.helper import make_node

        added = [
            Value(self, self.fresh(self._scope + operator), shape, dtype)
            for shape, dtype in results
        ]
        names = ["" if value is None else value.name for value in values]
        while names and not names[-1]:
            names.pop()
        self.nodes.append(
            make_node(operator, names, [each.name for each in added], added[0].name, **attributes)
        )
        return added

    def _constant(self, make_node: Any, tensor: Any, shape: Shape, dtype: Any) -> Value:
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
    dtype : dtype or its name

    Attributes
    ----------
    array : NumPy array or None
        Of a parameter.
    origin : (Value, tuple of int) or None
        Of a transposition: the original and the order of its axes.
    index_size : int or None
        Of an input of indices: they are below it.
    """

    __array_ufunc__ = None  # so that NumPy's operators defer to these

    def __init__(self, graph: Graph, name: str, shape: Shape, dtype: Any) -> None:
        self.graph, self.name, self.shape = graph, name, shape
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.array: np.ndarray[Any, Any] | None = None
        self.origin: tuple[Value, tuple[int, ...]] | None = None
        self.index_size: int | None = None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def numbers(self) -> np.ndarray[Any, Any]:
        """The array of a parameter."""
        if self.array is None:
            raise TypeError(f"{self.name} is not a parameter: its numbers are not known")
        return self.array

    @property
    def size(self) -> Any:
        return math.prod(self.shape)

    @property
    def T(self) -> Value:
        if self.ndim != 2:
            raise TypeError(f".T is for matrices, not for shape {self.shape}")
        return self.mT

    @property
    def mT(self) -> Value:
        *leading, rows, columns = range(self.ndim)
        return self.graph.permute(self, (*leading, columns, rows))

    def __getitem__(self, key: Any) -> Value:
        """Return a part by integers, slices, None and `...`; the batch cannot be cut."""
        graph, x = self.graph, self
        index = indexed(self.shape, key)
        if index.starts:
            columns = zip(*index.starts, strict=True)
            starts, ends, axes, steps = (graph.integers(*column) for column in columns)
            x = graph.node("Slice", x, starts, ends, axes, steps, shape=index.cut, dtype=self.dtype)
        if index.removed:
            axes = graph.integers(*index.removed)
            x = graph.node("Squeeze", x, axes, shape=index.squeezed, dtype=self.dtype)
        if index.added:
            axes = graph.integers(*index.added)
            x = graph.node("Unsqueeze", x, axes, shape=index.shape, dtype=self.dtype)
        return x

    def __add__(self, other: Any) -> Value:
        return self.graph.elementwise("Add", self, other)

    def __radd__(self, other: Any) -> Value:
        return self.graph.elementwise("Add", other, self)

    def __sub__(self, other: Any) -> Value:
        return self.graph.elementwise("Sub", self, other)

    def __rsub__(self, other: Any) -> Value:
        return self.graph.elementwise("Sub", other, self)

    def __mul__(self, other: Any) -> Value:
        return self.graph.elementwise("Mul", self, other)

    def __rmul__(self, other: Any) -> Value:
        return self.graph.elementwise("Mul", other, self)

    def __truediv__(self, other: Any) -> Value:
        return self.graph.elementwise("Div", self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return self.graph.elementwise("Div", other, self)

    def __floordiv__(self, other: Any) -> Value:
        if self.dtype.kind == "i":  # Div would round toward zero
            remainder = self.graph.elementwise("Mod", self, other)
            return self.graph.elementwise("Div", self - remainder, other)
        return self.graph.elementwise("Floor", self / other)

    def __mod__(self, other: Any) -> Value:
        if self.dtype.kind == "i":
            return self.graph.elementwise("Mod", self, other)
        whole = self.graph.elementwise("Floor", self / other)
        return self - self.graph.elementwise("Mul", whole, other)

    def __pow__(self, other: Any) -> Value:
        return self.graph.elementwise("Pow", self, other)

    def __rpow__(self, other: Any) -> Value:
        return self.graph.elementwise("Pow", other, self)

    def __neg__(self) -> Value:
        return self.graph.elementwise("Neg", self)

    def __pos__(self) -> Value:
        return self

    def __abs__(self) -> Value:
        return self.graph.elementwise("Abs", self)

    def __matmul__(self, other: Any) -> Value:
        return self._product(self, self.graph.value(other, self.dtype))

    def __rmatmul__(self, other: Any) -> Value:
        return self._product(self.graph.value(other, self.dtype), self)

    def _product(self, x: Value, y: Value) -> Value:
        if x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-2]:
            raise TypeError(f"no matrix product of shapes {x.shape} and {y.shape}")
        leading = broadcast(x.shape[:-2], y.shape[:-2])
        shape = (*leading, x.shape[-2], y.shape[-1])
        return self.graph.node("MatMul", x, y, shape=shape, dtype=x.dtype)

    def __lt__(self, other: Any) -> Value:
        return self.graph.elementwise("Less", self, other, dtype="bool")

    def __le__(self, other: Any) -> Value:
        return self.graph.elementwise("LessOrEqual", self, other, dtype="bool")

    def __gt__(self, other: Any) -> Value:
        return self.graph.elementwise("Greater", self, other, dtype="bool")

    def __ge__(self, other: Any) -> Value:
        return self.graph.elementwise("GreaterOrEqual", self, other, dtype="bool")

    def __eq__(self, other: Any) -> Value:  # type: ignore[override]
        return self.graph.elementwise("Equal", self, other, dtype="bool")

    def __ne__(self, other: Any) -> Value:  # type: ignore[override]
        return self.graph.elementwise("Not", self == other, dtype="bool")

    def __and__(self, other: Any) -> Value:
        return self.graph.elementwise("And", self, other, dtype="bool")

    def __rand__(self, other: Any) -> Value:
        return self.graph.elementwise("And", other, self, dtype="bool")

    def __or__(self, other: Any) -> Value:
        return self.graph.elementwise("Or", self, other, dtype="bool")

    def __ror__(self, other: Any) -> Value:
        return self.graph.elementwise("Or", other, self, dtype="bool")

    def __invert__(self) -> Value:
        return self.graph.elementwise("Not", self, dtype="bool")

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise TypeError("a graph cannot branch on values: use xp.where")

    def __iter__(self) -> Iterator[Value]:
        raise TypeError("a graph cannot run a loop over an array")

    def __repr__(self) -> str:
        return f"Value({self.name!r}, shape={self.shape}, dtype={self.dtype.name!r})"


__all__ = ["BATCH", "IR_VERSION", "OPSET", "Graph", "Shape", "Value"]

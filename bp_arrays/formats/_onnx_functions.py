"""`OnnxFunctions`: an array API namespace that writes the operations of a forward as ONNX nodes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from bp_arrays.formats._onnx_graph import Graph, Value
from bp_arrays.formats._onnx_shapes import BatchSize, Shape, broadcast

ELEMENTWISE = {
    "abs": "Abs", "add": "Add", "ceil": "Ceil", "cos": "Cos", "divide": "Div", "exp": "Exp",
    "floor": "Floor", "log": "Log", "maximum": "Max", "minimum": "Min", "multiply": "Mul",
    "negative": "Neg", "pow": "Pow", "reciprocal": "Reciprocal", "round": "Round", "sign": "Sign",
    "sin": "Sin", "sqrt": "Sqrt", "subtract": "Sub", "tanh": "Tanh", "where": "Where",
}  # fmt: skip
CONDITIONS = {
    "equal": "Equal", "greater": "Greater", "greater_equal": "GreaterOrEqual", "isnan": "IsNaN",
    "less": "Less", "less_equal": "LessOrEqual", "logical_and": "And", "logical_not": "Not",
    "logical_or": "Or", "logical_xor": "Xor",
}  # fmt: skip
REDUCTIONS = {
    "max": "ReduceMax", "mean": "ReduceMean", "min": "ReduceMin", "prod": "ReduceProd",
    "sum": "ReduceSum",
}  # fmt: skip
OPERATORS = {
    "bitwise_and": "__and__", "bitwise_invert": "__invert__", "bitwise_or": "__or__",
    "floor_divide": "__floordiv__", "matmul": "__matmul__", "not_equal": "__ne__",
    "positive": "__pos__", "remainder": "__mod__",
}  # fmt: skip
"""Functions that are an operator of `Value`."""

Axes = int | tuple[int, ...] | None


class OnnxFunctions:
    """The functions of the array API that ONNX has too; their arrays are values of a graph.

    A call without a value of the graph, such as `xp.arange(5)`, is computed at once, by NumPy:
    its result is a constant.

    Parameters
    ----------
    graph : Graph
        The graph to which every call adds its nodes.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def __getattr__(self, name: str) -> Any:
        constant = getattr(np, name, None)
        if constant is not None and not callable(constant):  # pi, inf, nan, newaxis
            return constant
        if isinstance(constant, type) and issubclass(constant, np.generic):
            return np.dtype(constant)
        function = self._function(name)

        def call(*arguments: Any, device: Any = None, **options: Any) -> Any:
            if not any(map(_is_symbolic, _flat((*arguments, *options.values())))):
                if constant is None:
                    raise AttributeError(f"xp.{name} is not a function of the array API")
                return constant(*arguments, **options)
            if function is None:
                raise AttributeError(f"xp.{name} has no counterpart in ONNX")
            return function(*arguments, **options)

        if constant is None and function is None:
            raise AttributeError(f"xp.{name} is not a function of the array API")
        return call

    def _function(self, name: str) -> Callable[..., Any] | None:
        """Return the function that writes the nodes of a function of the array API."""
        graph = self._graph
        if name in ELEMENTWISE:
            return functools.partial(graph.elementwise, ELEMENTWISE[name])
        if name in CONDITIONS:
            return functools.partial(graph.elementwise, CONDITIONS[name], dtype="bool")
        if name in REDUCTIONS:
            return functools.partial(_reduce, graph, REDUCTIONS[name])
        if name in OPERATORS:
            return lambda x, *others: getattr(_value(graph, x, *others), OPERATORS[name])(*others)
        function = FUNCTIONS.get(name)
        return None if function is None else functools.partial(function, graph)


FUNCTIONS: dict[str, Callable[..., Any]] = {}

F = TypeVar("F", bound=Callable[..., Any])


def _function(function: F) -> F:
    FUNCTIONS[function.__name__.removeprefix("_")] = function
    return function


def _flat(arguments: Any) -> Iterator[Any]:
    for each in arguments:
        if isinstance(each, (tuple, list)):
            yield from _flat(each)
        else:
            yield each


def _is_symbolic(argument: Any) -> bool:
    return isinstance(argument, (Value, BatchSize))


def _value(graph: Graph, x: Any, *others: Any) -> Value:
    """Return the first operand as a value, a constant in the dtype of the other."""
    if isinstance(x, Value):
        return x
    return graph.value(x, next((each.dtype for each in others if isinstance(each, Value)), None))


def _as_values(graph: Graph, arrays: Sequence[Any]) -> list[Value]:
    dtype = next(array.dtype for array in arrays if isinstance(array, Value))
    return [graph.value(array, dtype) for array in arrays]


def _axes(x: Value, axis: Axes) -> list[int]:
    every = range(x.ndim)
    if axis is None:
        return list(every)
    return sorted(every[k] for k in (axis if isinstance(axis, tuple) else (axis,)))


def _reduce(
    graph: Graph,
    operator: str,
    x: Value,
    axis: Axes = None,
    keepdims: bool = False,
    dtype: Any = None,
) -> Value:
    if dtype is not None:
        x = graph.cast(x, dtype)
    elif x.dtype == "bool":
        x = graph.cast(x, "int64")
    reduced = _axes(x, axis)
    if x.origin is not None and not keepdims:  # over the original: its other axes stay in order
        source, order = x.origin
        kept = [order[k] for k in range(x.ndim) if k not in reduced]
        if kept == sorted(kept):
            x, reduced = source, sorted(order[k] for k in reduced)
    shape = tuple(
        1 if k in reduced else x.shape[k] for k in range(x.ndim) if keepdims or k not in reduced
    )
    axes = graph.integers(*reduced)
    return graph.node(operator, x, axes, shape=shape, dtype=x.dtype, keepdims=int(keepdims))


@_function
def _any(graph: Graph, x: Value, axis: Axes = None, keepdims: bool = False) -> Value:
    number = graph.cast(graph.cast(x, "bool"), "int64")  # 0.5 and −1 are true
    return _reduce(graph, "ReduceMax", number, axis, keepdims) > 0


@_function
def _all(graph: Graph, x: Value, axis: Axes = None, keepdims: bool = False) -> Value:
    number = graph.cast(graph.cast(x, "bool"), "int64")
    return _reduce(graph, "ReduceMin", number, axis, keepdims) > 0


@_function
def _var(
    graph: Graph, x: Value, axis: Axes = None, correction: float = 0.0, keepdims: bool = False
) -> Value:
    deviation = x - _reduce(graph, "ReduceMean", x, axis, keepdims=True)
    count = math.prod(x.shape[k] for k in _axes(x, axis))
    total = _reduce(graph, "ReduceSum", deviation * deviation, axis, keepdims)
    return graph.elementwise("Div", total, count - correction)


@_function
def _std(graph: Graph, x: Value, **options: Any) -> Value:
    return graph.elementwise("Sqrt", _var(graph, x, **options))


@_function
def _argmax(graph: Graph, x: Value, axis: int, keepdims: bool = False) -> Value:
    return _arg(graph, "ArgMax", x, axis, keepdims)


@_function
def _argmin(graph: Graph, x: Value, axis: int, keepdims: bool = False) -> Value:
    return _arg(graph, "ArgMin", x, axis, keepdims)


def _arg(graph: Graph, operator: str, x: Value, axis: int, keepdims: bool) -> Value:
    [k] = _axes(x, axis)
    shape = (*x.shape[:k], *([1] if keepdims else []), *x.shape[k + 1 :])
    return graph.node(operator, x, shape=shape, dtype="int64", axis=k, keepdims=int(keepdims))


@_function
def _square(graph: Graph, x: Value) -> Value:
    return x * x


@_function
def _clip(graph: Graph, x: Value, min: Any = None, max: Any = None) -> Value:
    x = x if min is None else graph.elementwise("Max", x, min)
    return x if max is None else graph.elementwise("Min", x, max)


@_function
def _expm1(graph: Graph, x: Value) -> Value:
    """Return eˣ − 1 = 2 t / (1 − t) with t = tanh(x/2), which does not cancel for x <= 1."""
    t = graph.elementwise("Tanh", graph.elementwise("Min", x, 1.0) * 0.5)
    far = graph.elementwise("Exp", x) - 1.0
    return graph.elementwise("Where", x > 1.0, far, 2.0 * t / (1.0 - t))


@_function
def _log1p(graph: Graph, x: Value) -> Value:
    """Return log(1 + x) = log(u) x / (u − 1) with u the rounded 1 + x.

    Source: Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 1.14.1.
    """
    u = 1.0 + x
    is_one = u == 1.0
    divisor = graph.elementwise("Where", is_one, 1.0, u - 1.0)
    return graph.elementwise("Where", is_one, x, graph.elementwise("Log", u) * (x / divisor))


@_function
def _logaddexp(graph: Graph, x: Value, y: Value) -> Value:
    larger = graph.elementwise("Max", x, y)
    is_same = graph.elementwise("Equal", x, y, dtype="bool")  # also infinite: ∞ − ∞ is NaN
    distance = graph.elementwise("Where", is_same, 0.0, abs(x - y))
    return larger + _log1p(graph, graph.elementwise("Exp", -distance))


@_function
def _isfinite(graph: Graph, x: Value) -> Value:
    return graph.elementwise("Abs", x) < math.inf  # false for NaN


@_function
def _isinf(graph: Graph, x: Value) -> Value:
    return graph.elementwise("Abs", x) == math.inf


@_function
def _vecdot(graph: Graph, x: Value, y: Value, axis: int = -1) -> Value:
    return _reduce(graph, "ReduceSum", x * y, axis)


@_function
def _astype(graph: Graph, x: Value, dtype: Any, copy: bool = True) -> Value:
    return graph.cast(x, dtype)


@_function
def _asarray(graph: Graph, x: Value, dtype: Any = None, copy: bool | None = None) -> Value:
    if not isinstance(x, Value):
        raise TypeError("an array made of values: use xp.stack")
    return x if dtype is None else graph.cast(x, dtype)


# -- shapes ----------------------------------------------------------------------------------


@_function
def _reshape(graph: Graph, x: Value, shape: Any, copy: bool | None = None) -> Value:
    """Reshape; the number of rows may be merged with other axes, and one size may be −1."""
    sizes = [shape] if isinstance(shape, (int, BatchSize)) else list(shape)
    if -1 in sizes:
        k = sizes.index(-1)
        try:
            sizes[k] = x.size // math.prod(sizes[:k] + sizes[k + 1 :])
        except TypeError:
            raise TypeError(f"reshape from {x.shape} to {shape} mixes the batch") from None
    if math.prod(sizes) != x.size:
        has_batch = any(isinstance(size, BatchSize) for size in sizes)
        what = "the number of values" if has_batch else "the batch"
        raise TypeError(f"reshape from {x.shape} to {shape} changes {what}")
    if tuple(sizes) == x.shape:
        return x
    numbers = graph.integers(*(-1 if isinstance(size, BatchSize) else size for size in sizes))
    return graph.node("Reshape", x, numbers, shape=tuple(sizes), dtype=x.dtype)


@_function
def _permute_dims(graph: Graph, x: Value, axes: Sequence[int]) -> Value:
    return graph.permute(x, axes)


@_function
def _matrix_transpose(graph: Graph, x: Value) -> Value:
    return x.mT


@_function
def _moveaxis(graph: Graph, x: Value, source: Axes, destination: Axes) -> Value:
    every = range(x.ndim)
    sources = [every[k] for k in (source if isinstance(source, tuple) else (source,))]  # type: ignore[index]
    places = [every[k] for k in (destination if isinstance(destination, tuple) else (destination,))]  # type: ignore[index]
    order = [k for k in every if k not in sources]
    for place, k in sorted(zip(places, sources, strict=True)):
        order.insert(place, k)
    return graph.permute(x, order)


@_function
def _expand_dims(graph: Graph, x: Value, axis: int = 0) -> Value:
    k = range(x.ndim + 1)[axis]
    shape = (*x.shape[:k], 1, *x.shape[k:])
    return graph.node("Unsqueeze", x, graph.integers(k), shape=shape, dtype=x.dtype)


@_function
def _squeeze(graph: Graph, x: Value, axis: Axes) -> Value:
    axes = _axes(x, axis)
    if any(x.shape[k] != 1 for k in axes):
        raise TypeError(f"squeeze of axes {axes} of shape {x.shape}")
    shape = tuple(size for k, size in enumerate(x.shape) if k not in axes)
    return graph.node("Squeeze", x, graph.integers(*axes), shape=shape, dtype=x.dtype)


@_function
def _broadcast_to(graph: Graph, x: Any, shape: Shape) -> Value:
    return graph.expand(graph.value(x, getattr(x, "dtype", None)), shape)


@_function
def _broadcast_arrays(graph: Graph, *arrays: Any) -> tuple[Value, ...]:
    values = [graph.value(array, getattr(array, "dtype", None)) for array in arrays]
    shape = broadcast(*(value.shape for value in values))
    return tuple(graph.expand(value, shape) for value in values)


@_function
def _concat(graph: Graph, arrays: Sequence[Any], *, axis: int = 0) -> Value:
    values = _as_values(graph, arrays)
    shapes = [list(value.shape) for value in values]
    k = range(values[0].ndim)[axis]
    if any(isinstance(shape[k], BatchSize) for shape in shapes):
        raise TypeError("concat along the batch would change the number of rows")
    size = sum(shape.pop(k) for shape in shapes)
    if any(shape != shapes[0] for shape in shapes):
        raise TypeError(f"no concat of shapes {', '.join(str(v.shape) for v in values)}")
    shape = (*shapes[0][:k], size, *shapes[0][k:])
    if len(values) == 1:
        return values[0]
    return graph.node("Concat", *values, shape=shape, dtype=values[0].dtype, axis=k)


@_function
def _stack(graph: Graph, arrays: Sequence[Any], *, axis: int = 0) -> Value:
    values = _as_values(graph, arrays)
    return _concat(graph, [_expand_dims(graph, value, axis) for value in values], axis=axis)


@_function
def _unstack(graph: Graph, x: Value, *, axis: int = 0) -> tuple[Value, ...]:
    [k] = _axes(x, axis)
    return tuple(x[(slice(None),) * k + (i,)] for i in range(x.shape[k]))


@_function
def _flip(graph: Graph, x: Value, *, axis: Axes = None) -> Value:
    axes = _axes(x, axis)
    return x[tuple(slice(None, None, -1) if k in axes else slice(None) for k in range(x.ndim))]


@_function
def _roll(graph: Graph, x: Value, shift: int, *, axis: int) -> Value:
    [k] = _axes(x, axis)
    cut, every = x.shape[k] - shift % x.shape[k], (slice(None),) * k
    parts = [x[(*every, slice(cut, None))], x[(*every, slice(None, cut))]]
    return _concat(graph, parts, axis=k)


@_function
def _repeat(graph: Graph, x: Value, repeats: int, *, axis: int) -> Value:
    [k] = _axes(x, axis)
    return _take(graph, x, np.repeat(np.arange(x.shape[k]), repeats), axis=k)


@_function
def _tile(graph: Graph, x: Value, repetitions: Sequence[int]) -> Value:
    x = _reshape(graph, x, (1,) * (len(repetitions) - x.ndim) + x.shape)
    factors = (1,) * (x.ndim - len(repetitions)) + tuple(repetitions)
    shape = tuple(size * factor for size, factor in zip(x.shape, factors, strict=True))
    return graph.node("Tile", x, graph.integers(*factors), shape=shape, dtype=x.dtype)


@_function
def _take(graph: Graph, x: Any, indices: Any, *, axis: int | None = None) -> Value:
    """Gather rows of an axis, by indices of any shape."""
    values = graph.value(x, getattr(x, "dtype", None))
    k = range(values.ndim)[0 if axis is None else axis]
    if isinstance(values.shape[k], BatchSize):
        raise TypeError("take from the rows of the batch, whose number is not known")
    where = graph.value(indices, "int64")
    shape = (*values.shape[:k], *where.shape, *values.shape[k + 1 :])
    return graph.node("Gather", values, where, shape=shape, dtype=values.dtype, axis=k)


@_function
def _take_along_axis(graph: Graph, x: Value, indices: Any, *, axis: int = -1) -> Value:
    [k] = _axes(x, axis)
    where = graph.value(indices, "int64")
    leading = broadcast(
        (*x.shape[:k], 1, *x.shape[k + 1 :]), (*where.shape[:k], 1, *where.shape[k + 1 :])
    )
    x = graph.expand(x, (*leading[:k], x.shape[k], *leading[k + 1 :]))
    where = graph.expand(where, (*leading[:k], where.shape[k], *leading[k + 1 :]))
    return graph.node("GatherElements", x, where, shape=where.shape, dtype=x.dtype, axis=k)


@_function
def _cumulative_sum(
    graph: Graph,
    x: Value,
    *,
    axis: int | None = None,
    include_initial: bool = False,
    dtype: Any = None,
) -> Value:
    [k] = _axes(x, axis)
    if isinstance(x.shape[k], BatchSize):
        raise TypeError("a sum along the batch would mix its rows")
    if dtype is not None or x.dtype == "bool":
        x = graph.cast(x, "int64" if dtype is None else dtype)
    if include_initial:
        shape = (*x.shape[:k], 1, *x.shape[k + 1 :])
        x = _concat(graph, [_full(graph, shape, 0, dtype=x.dtype), x], axis=k)
    where = graph.value(np.asarray(k), "int64")
    return graph.node("CumSum", x, where, shape=x.shape, dtype=x.dtype)


@_function
def _tril(graph: Graph, x: Value, *, k: int = 0) -> Value:
    keep = np.tril(np.ones(x.shape[-2:], dtype=bool), k=k)
    return graph.elementwise("Where", keep, x, 0)


@_function
def _triu(graph: Graph, x: Value, *, k: int = 0) -> Value:
    keep = np.triu(np.ones(x.shape[-2:], dtype=bool), k=k)
    return graph.elementwise("Where", keep, x, 0)


# -- new arrays ------------------------------------------------------------------------------


@_function
def _full(graph: Graph, shape: Any, fill_value: Any, *, dtype: Any = None) -> Value:
    shape = (shape,) if isinstance(shape, (int, BatchSize)) else tuple(shape)
    dtype = np.dtype(graph.dtype if dtype is None else dtype)
    value = graph.value(np.asarray(fill_value, dtype=dtype), dtype)
    return graph.expand(value, shape)


@_function
def _zeros(graph: Graph, shape: Any, *, dtype: Any = None) -> Value:
    return _full(graph, shape, 0, dtype=dtype)


@_function
def _ones(graph: Graph, shape: Any, *, dtype: Any = None) -> Value:
    return _full(graph, shape, 1, dtype=dtype)


@_function
def _full_like(graph: Graph, x: Value, fill_value: Any, *, dtype: Any = None) -> Value:
    return _full(graph, x.shape, fill_value, dtype=x.dtype if dtype is None else dtype)


@_function
def _zeros_like(graph: Graph, x: Value, *, dtype: Any = None) -> Value:
    return _full_like(graph, x, 0, dtype=dtype)


@_function
def _ones_like(graph: Graph, x: Value, *, dtype: Any = None) -> Value:
    return _full_like(graph, x, 1, dtype=dtype)


FUNCTIONS["empty"], FUNCTIONS["empty_like"] = _zeros, _zeros_like


@_function
def _arange(
    graph: Graph, start: Any, stop: Any = None, step: int = 1, *, dtype: Any = None
) -> Value:
    if stop is None:
        start, stop = 0, start
    if not isinstance(stop, BatchSize) or step != 1 or start != 0:
        raise TypeError("arange whose size depends on the number of rows")
    zero, one = (graph.value(np.asarray(n), "int64") for n in (0, 1))
    axes = graph.integers(0)
    end = graph.node("Squeeze", graph.sizes((stop,)), axes, shape=(), dtype="int64")
    y = graph.node("Range", zero, end, one, shape=(stop,), dtype="int64")
    return y if dtype is None else graph.cast(y, dtype)


@_function
def _result_type(graph: Graph, *arrays: Any) -> Any:
    return np.result_type(
        *(each.dtype if isinstance(each, (Value, np.ndarray)) else each for each in arrays)
    )

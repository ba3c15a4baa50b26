"""`CapturedArray` and `CapturedNamespace`: CuPy's arrays and functions in a captured step.

Layers write `x @ w`, and the operator of CuPy calls cuBLAS in a way that cannot be captured. So a
captured step runs on `CapturedArray`: every operator and function is CuPy's, except `@` and
`matmul`, which are the product of the graph's stream. CuPy itself is not patched, so other threads
and other graphs are not affected.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bp_arrays.execution.cuda._product import MatrixProduct
from bp_arrays.trees import Tree, map_tree
from bp_arrays.typing import Array, Namespace

COPIED_ONE_BY_ONE = 8
"""CuPy concatenates up to this number of arrays without copying their addresses to the device."""

EXCHANGED = ("__cuda_array_interface__", "__dlpack__")
"""By which CuPy's functions would take such an array in silence, and wait for its stream."""

BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")
BITWISE = ("and", "or", "xor", "lshift", "rshift")
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
UNARY = ("neg", "pos", "abs", "invert")
CONVERSIONS = {"bool": bool, "int": int, "float": float, "complex": complex}


class CapturedArray:
    """An array of CuPy whose matrix products run on one stream.

    Parameters
    ----------
    array : cupy.ndarray
    product : MatrixProduct
    """

    __array_ufunc__ = None  # so that a NumPy number on the left defers to this class

    def __init__(self, array: Array, product: MatrixProduct) -> None:
        self.array, self.product = array, product

    def __matmul__(self, other: Any) -> Any:
        return self.wrapped(self.product(self.array, unwrapped(other)))

    def __rmatmul__(self, other: Any) -> Any:
        return self.wrapped(self.product(unwrapped(other), self.array))

    def __getitem__(self, key: Any) -> Any:
        return self.wrapped(self.array[unwrapped(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.array[unwrapped(key)] = unwrapped(value)

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[Any]:
        return map(self.wrapped, self.array)

    def __getattr__(self, name: str) -> Any:
        if name in EXCHANGED:
            raise AttributeError(f"{name}: functions of CuPy take no arrays of a captured step")
        value = getattr(self.array, name)
        if callable(value):
            return _on_plain_arrays(value, self.product)
        return self.wrapped(value)

    def wrapped(self, value: Any) -> Any:
        """Return a result of CuPy as a `CapturedArray`."""
        return wrapped(value, self.product)


def _forward(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *others: self.wrapped(function(self.array, *map(unwrapped, others)))


def _reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, other: self.wrapped(function(unwrapped(other), self.array))


def _in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    def operate(self: CapturedArray, other: Any) -> CapturedArray:
        self.array = function(self.array, unwrapped(other))
        return self

    return operate


def _converted(kind: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda self: kind(self.array)


for _name in (*BINARY, *BITWISE):
    _plain = getattr(operator, f"{_name}_" if _name in ("and", "or") else _name)
    setattr(CapturedArray, f"__{_name}__", _forward(_plain))
    setattr(CapturedArray, f"__r{_name}__", _reflected(_plain))
    setattr(CapturedArray, f"__i{_name}__", _in_place(getattr(operator, f"i{_name}")))
for _name in (*COMPARISONS, *UNARY):
    setattr(CapturedArray, f"__{_name}__", _forward(getattr(operator, _name)))
for _name, _kind in CONVERSIONS.items():
    setattr(CapturedArray, f"__{_name}__", _converted(_kind))


class CapturedNamespace:
    """CuPy's array API namespace for `CapturedArray`, with replacements that can be captured.

    Parameters
    ----------
    xp : namespace of CuPy
    product : MatrixProduct
    """

    def __init__(self, xp: Namespace, product: MatrixProduct) -> None:
        self.plain, self._product = xp, product

    def run_native(self, form: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Run CuPy's form of a kernel on the plain arrays."""
        result = form(*unwrapped(arguments), xp=self.plain, **unwrapped(options))
        return wrapped(result, self._product)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.plain, name)
        if callable(value) and not isinstance(value, type):
            value = _on_plain_arrays(value, self._product)
        setattr(self, name, value)  # looked up once
        return value

    def matmul(self, a: Any, b: Any, /) -> Any:
        return wrapped(self._product(unwrapped(a), unwrapped(b)), self._product)

    def concat(self, arrays: Sequence[Any], /, *, axis: int | None = 0) -> Any:
        parts = list(unwrapped(tuple(arrays)))
        while len(parts) > COPIED_ONE_BY_ONE:
            parts = [
                self.plain.concat(parts[k : k + COPIED_ONE_BY_ONE], axis=axis)
                for k in range(0, len(parts), COPIED_ONE_BY_ONE)
            ]
        return wrapped(self.plain.concat(parts, axis=axis), self._product)

    def stack(self, arrays: Sequence[Any], /, *, axis: int = 0) -> Any:
        parts = [self.plain.expand_dims(part, axis=axis) for part in unwrapped(tuple(arrays))]
        axis = axis if axis >= 0 else parts[0].ndim + axis
        return self.concat(parts, axis=axis)

    def tensordot(self, a: Any, b: Any, /, *, axes: Any = 2) -> Any:
        a, b = unwrapped(a), unwrapped(b)
        if isinstance(axes, int):
            axes = range(a.ndim - axes, a.ndim), range(axes)
        axes_a, axes_b = ([k % x.ndim for k in ks] for x, ks in zip((a, b), axes, strict=True))
        free_a, free_b = (
            [k for k in range(x.ndim) if k not in ks] for x, ks in ((a, axes_a), (b, axes_b))
        )
        left = self.plain.permute_dims(a, (*free_a, *axes_a))
        right = self.plain.permute_dims(b, (*axes_b, *free_b))
        shape = (*left.shape[: len(free_a)], *right.shape[len(axes_b) :])
        length = math.prod(a.shape[k] for k in axes_a)  # of the summed axes
        left = left.reshape(left.size // max(length, 1), length)
        right = right.reshape(length, right.size // max(length, 1))
        return wrapped(self._product(left, right).reshape(shape), self._product)


def wrapped(value: Tree, product: MatrixProduct) -> Any:
    """Return a tree with every array of CuPy as a `CapturedArray`, other values unchanged."""
    import cupy

    if isinstance(value, list):
        return [wrapped(part, product) for part in value]
    return map_tree(
        lambda leaf: CapturedArray(leaf, product) if isinstance(leaf, cupy.ndarray) else leaf,
        value,
    )


def unwrapped(value: Tree) -> Any:
    """Return a tree with every `CapturedArray` as an array of CuPy."""
    if isinstance(value, list):
        return [unwrapped(part) for part in value]
    return map_tree(lambda leaf: leaf.array if isinstance(leaf, CapturedArray) else leaf, value)


def _on_plain_arrays(function: Callable[..., Any], product: MatrixProduct) -> Callable[..., Any]:
    """Return the function with `CapturedArray` as arguments and result."""

    def call(*arguments: Any, **options: Any) -> Any:
        return wrapped(function(*unwrapped(arguments), **unwrapped(options)), product)

    return call

"""NumPy functions of recorded arrays: views, and results written straight into planned memory.

NumPy's ufuncs are recorded by `Recorded` itself. The functions of this file are recorded as
operations that accept `out=`, as views, or as a few ufuncs that compute the same bits. Every other
function of NumPy is called as it is, and its result copied into planned memory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bp_arrays.typing import HostArray, Shape

_add_reduce: Any = np.add.reduce

Axis = int | tuple[int, ...] | None
Form = Callable[..., Any]

FUNCTIONS: dict[Form, Form] = {}
"""The recorded form of each function; it may return NotImplemented for arguments it does not know.
"""

BITS = {np.dtype(np.float32): np.int32, np.dtype(np.float64): np.int64}
BLOCK = 16384
"""Elements per block of `chosen`, so that its temporaries stay in the cache."""
LARGE = 4096
"""Elements from which `chosen` works on bits."""


def recorded_as(*functions: Form) -> Callable[[Form], Form]:
    """Register the decorated function as the recorded form of functions of NumPy."""

    def register(form: Form) -> Form:
        FUNCTIONS.update(dict.fromkeys(functions, form))
        return form

    return register


# -- views -------------------------------------------------------------------------------------


@recorded_as(np.reshape)
def _(x: Any, /, shape: Shape, order: str = "C", *, copy: bool | None = None) -> Any:
    return x.reshape(shape) if order == "C" and copy is None else NotImplemented


def _view_of(function: Form) -> Form:
    def form(x: Any, /, *arguments: Any, **options: Any) -> Any:
        return x.recorder.view(x, lambda a: function(a, *arguments, **options))

    return form


VIEWS: tuple[Form, ...] = (
    np.transpose, np.matrix_transpose, np.swapaxes, np.moveaxis, np.flip, np.expand_dims,
    np.squeeze, np.broadcast_to, np.diagonal,
)  # fmt: skip
FUNCTIONS |= {function: _view_of(function) for function in VIEWS}


@recorded_as(np.broadcast_arrays)
def _(*arrays: Any, subok: bool = False) -> Any:
    shape = np.broadcast_shapes(*(x.shape for x in arrays))
    return tuple(np.broadcast_to(x, shape) for x in arrays)


@recorded_as(np.unstack)
def _(x: Any, /, *, axis: int = 0) -> Any:
    before = (slice(None),) * (axis % x.ndim)
    return tuple(x[(*before, k, ...)] for k in range(x.shape[axis]))


def _parts_as(split: Form) -> Form:
    def form(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
        before = (slice(None),) * (axis % ary.ndim)
        size = ary.shape[axis]
        if isinstance(indices_or_sections, (int, np.integer)):
            parts = split(np.arange(size), indices_or_sections)
            stops = [0, *np.cumsum([len(part) for part in parts]).tolist()]
        else:
            stops = [0, *indices_or_sections, size]
        pairs = itertools.pairwise(stops)
        return [ary[(*before, slice(start, stop), ...)] for start, stop in pairs]

    return form


FUNCTIONS |= {function: _parts_as(function) for function in (np.split, np.array_split)}


# -- joined and selected -----------------------------------------------------------------------


@recorded_as(np.concatenate)
def _(arrays: Sequence[Any], /, axis: int | None = 0) -> Any:
    parts = list(arrays)
    if axis is None:
        parts, axis = [np.reshape(part, (-1,)) for part in parts], 0
    like = np.concatenate([stand_in(part) for part in parts], axis=axis)
    options = {"axis": axis}
    return _recorder_of(*parts).result(np.concatenate, [parts], like.shape, like.dtype, options)


@recorded_as(np.stack)
def _(arrays: Sequence[Any], axis: int = 0) -> Any:
    return np.concatenate([np.expand_dims(part, axis) for part in arrays], axis=axis)


@recorded_as(np.roll)
def _(x: Any, shift: int, axis: int | None = None) -> Any:
    if not isinstance(shift, int) or not isinstance(axis, int):
        return NotImplemented
    before, cut = (slice(None),) * (axis % x.ndim), -shift % max(x.shape[axis], 1)
    last, first = x[(*before, slice(cut, None), ...)], x[(*before, slice(0, cut), ...)]
    return np.concatenate([last, first], axis=axis)


@recorded_as(np.tile)
def _(x: Any, reps: Any) -> Any:
    counts = (reps,) if isinstance(reps, int) else tuple(reps)
    shape = (1,) * (len(counts) - x.ndim) + x.shape
    counts = (1,) * (len(shape) - len(counts)) + counts
    pairs = tuple(zip(counts, shape, strict=True))
    spread = np.reshape(x, tuple(n for _, size in pairs for n in (1, size)))
    spread = np.broadcast_to(spread, tuple(n for pair in pairs for n in pair))
    return np.reshape(spread, tuple(count * size for count, size in pairs))


@recorded_as(np.tril)
def _(m: Any, k: int = 0) -> Any:
    return np.where(_triangle(m, k), m, _zero(m))


@recorded_as(np.triu)
def _(m: Any, k: int = 0) -> Any:
    return np.where(_triangle(m, k - 1), _zero(m), m)


def _triangle(x: Any, k: int) -> HostArray:
    rows, columns = x.shape[-2:]
    return np.tri(rows, columns, k, dtype=bool)


def _zero(x: Any) -> HostArray:
    return np.zeros((), x.dtype)


@recorded_as(np.take)
def _(x: Any, indices: Any, axis: int | None = None, *, mode: str = "raise") -> Any:
    if mode != "raise":
        return NotImplemented
    where = indices if hasattr(indices, "dtype") else np.asarray(indices)
    like = np.take(stand_in(x), np.zeros(where.shape, where.dtype), axis=axis)
    recorder = _recorder_of(x, where)
    return recorder.result(taken, (x, where), like.shape, like.dtype, {"axis": axis})


def taken(x: HostArray, indices: HostArray, *, axis: int | None, out: HostArray) -> None:
    """Write `take(x, indices, axis)` into `out`; indices out of range raise IndexError.

    With `out=`, NumPy buffers in its mode "raise" and takes up to four times as long. So the range
    of the indices is checked here, and `take` clips what needs no clipping.
    """
    size = x.size if axis is None else x.shape[axis]
    unsigned = indices if indices.dtype.kind == "u" else indices.view(f"u{indices.itemsize}")
    # a negative index is a large unsigned number
    if indices.size == 0 or unsigned.max() < size:
        np.take(x, indices, axis=axis, out=out, mode="clip")
    else:  # counts from the end, or raises
        np.copyto(out, np.take(x, indices, axis=axis))


@recorded_as(np.where)
def _(condition: Any, x: Any, y: Any, /) -> Any:
    like = np.where(*(stand_in(operand) for operand in (condition, x, y)))
    bits = is_zero(y) and getattr(x, "dtype", None) in BITS and condition.dtype == np.bool_
    if bits and condition.shape == x.shape and x.size < LARGE:
        recorder = _recorder_of(condition, x)
        return recorder.result(masked, (condition, x), x.shape, x.dtype, elementwise=True)
    operands = [v if hasattr(v, "dtype") else np.asarray(v, like.dtype) for v in (x, y)]
    recorder = _recorder_of(condition, x, y)
    return recorder.result(chosen, (condition, *operands), like.shape, like.dtype)


def chosen(condition: HostArray, x: HostArray, y: HostArray, *, out: HostArray) -> None:
    """Write `where(condition, x, y)` into `out`.

    NumPy branches for each element, which a processor cannot predict for the signs of data;
    selecting by bits takes a third of the time.
    """
    by_bits = (
        out.size >= LARGE
        and out.dtype in BITS
        and x.dtype == y.dtype == out.dtype
        and condition.dtype == np.bool_
        and _is_whole(condition, out)
        and all(a.size == 1 or _is_whole(a, out) for a in (x, y))
    )
    if not by_bits:
        np.copyto(out, y, casting="unsafe")
        np.copyto(out, x, casting="unsafe", where=condition.astype(np.bool_, copy=False))
        return
    kind = BITS[out.dtype]
    x_bits, y_bits, result_bits = (a.reshape(-1).view(kind) for a in (x, y, out))
    condition = condition.reshape(-1)
    or_zero = y.size == 1 and not y_bits[0]
    mask = np.empty(min(BLOCK, out.size), kind)
    for start in range(0, out.size, BLOCK):
        block = slice(start, start + BLOCK)
        result = result_bits[block]
        bits = mask[: result.size]
        np.copyto(bits, condition[block])
        if or_zero:
            np.multiply(x_bits if x.size == 1 else x_bits[block], bits, out=result)
            continue
        np.negative(bits, out=bits)  # 1 is a mask of ones
        np.bitwise_and(x_bits if x.size == 1 else x_bits[block], bits, out=result)
        np.invert(bits, out=bits)
        np.bitwise_and(y_bits if y.size == 1 else y_bits[block], bits, out=bits)
        np.bitwise_or(result, bits, out=result)


def is_zero(value: Any) -> bool:
    return value.__class__ is float and value == 0.0 and math.copysign(1.0, value) > 0.0


def masked(condition: HostArray, x: HostArray, *, out: HostArray) -> None:
    """Write `where(condition, x, 0.0)` into `out`, by the bits of x: NaN and infinity become 0."""
    kind = BITS[out.dtype]
    np.multiply(x.view(kind), condition, out=out.view(kind))


def _is_whole(a: HostArray, out: HostArray) -> bool:
    return a.shape == out.shape and a.flags.c_contiguous


# -- sums and other reductions -----------------------------------------------------------------


def _reduction(ufunc: np.ufunc) -> Form:
    def form(x: Any, axis: Axis = None, *, dtype: Any = None, keepdims: bool = False) -> Any:
        return ufunc.reduce(x, axis=axis, dtype=dtype, keepdims=keepdims)

    return form


FUNCTIONS |= {
    np.sum: _reduction(np.add),
    np.prod: _reduction(np.multiply),
    np.max: _reduction(np.maximum),
    np.min: _reduction(np.minimum),
    np.any: _reduction(np.logical_or),
    np.all: _reduction(np.logical_and),
}


@recorded_as(np.mean)
def _(x: Any, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    if dtype is not None or x.dtype.kind != "f":
        return NotImplemented
    return mean(x, axis=axis, keepdims=keepdims)


def mean(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the mean of floats, with the operations of `numpy.mean`."""
    wide = np.dtype(np.float32) if x.dtype == np.float16 else x.dtype
    total = _add_reduce(x, axis=axis, dtype=wide, keepdims=keepdims) / _count(x, axis)
    return total if wide == x.dtype else total.astype(x.dtype)


@recorded_as(np.var)
def _(
    x: Any, axis: Axis = None, dtype: Any = None, *, ddof: float = 0, keepdims: bool = False
) -> Any:
    if dtype is not None or x.dtype.kind != "f":
        return NotImplemented
    wide = np.dtype(np.float32) if x.dtype == np.float16 else x.dtype
    count = _count(x, axis)
    d = x - _add_reduce(x, axis=axis, dtype=wide, keepdims=True) / count
    total = _add_reduce(d * d, axis=axis, dtype=wide, keepdims=keepdims)
    return (total / max(count - ddof, 0)).astype(x.dtype)


@recorded_as(np.std)
def _(
    x: Any, axis: Axis = None, dtype: Any = None, *, ddof: float = 0, keepdims: bool = False
) -> Any:
    if x.dtype == np.float16:  # the root is of the wider number
        return NotImplemented
    variance = FUNCTIONS[np.var](x, axis, dtype, ddof=ddof, keepdims=keepdims)
    return variance if variance is NotImplemented else np.sqrt(variance)


def _count(x: Any, axis: Axis) -> int:
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return math.prod(x.shape[k] for k in axes)


def _position(function: Form) -> Form:
    def form(x: Any, axis: int | None = None, *, keepdims: bool = False) -> Any:
        like = function(stand_in(x), axis=axis, keepdims=keepdims)
        options = {"axis": axis, "keepdims": keepdims}
        return x.recorder.result(function, (x,), like.shape, like.dtype, options)

    return form


FUNCTIONS |= {np.argmax: _position(np.argmax), np.argmin: _position(np.argmin)}


@recorded_as(np.cumsum)
def _(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    flat = np.reshape(x, (-1,)) if axis is None else x
    return np.add.accumulate(flat, axis=axis or 0, dtype=dtype)


@recorded_as(np.cumprod)
def _(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    flat = np.reshape(x, (-1,)) if axis is None else x
    return np.multiply.accumulate(flat, axis=axis or 0, dtype=dtype)


@recorded_as(np.clip)
def _(x: Any, a_min: Any = None, a_max: Any = None, **options: Any) -> Any:
    if options:
        return NotImplemented
    lower = x if a_min is None else np.maximum(x, a_min)
    return lower if a_max is None else np.minimum(lower, a_max)


# -- stand-ins ---------------------------------------------------------------------------------


def stand_in(operand: Any, *, whole: bool = True) -> Any:
    """Return an array to try an operation on: of the whole shape in the memory of one, or 1 × 1.

    Of ones, which are in the domain of most functions; of zeros for integers, which may be indices.
    """
    if not is_recorded(operand):
        return operand
    element = np.full((1,) * operand.ndim, operand.dtype.kind == "f", operand.dtype)
    return np.broadcast_to(element.reshape(()), operand.shape) if whole else element


def is_recorded(value: Any) -> bool:
    """Return True for a recorded array."""
    return hasattr(value, "recorder")


def _recorder_of(*operands: Any) -> Any:
    return next(operand.recorder for operand in operands if is_recorded(operand))

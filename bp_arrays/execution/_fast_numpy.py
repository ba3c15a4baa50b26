"""`fast_numpy`: NumPy's namespace with less overhead and the same results.

`numpy.sum` spends more time on dispatch than on the few hundred numbers of a small batch; the
`reduce` of the ufunc, which it calls in the end, computes the same. And `numpy.where` branches for
each element, which a processor cannot predict; multiplying the bits of each number by 0 or 1 needs
no branch, and is twenty times as fast.
"""

from __future__ import annotations

import builtins
from types import SimpleNamespace
from typing import Any

import numpy as np

from bp_arrays.execution._recorded_functions import (
    BITS,
    FUNCTIONS,
    Axis,
    is_recorded,
    is_zero,
    mean,
)

_add_reduce: Any = np.add.reduce
_maximum_reduce: Any = np.maximum.reduce
_minimum_reduce: Any = np.minimum.reduce


def _sum(x: Any, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Any:
    return _add_reduce(x, axis=axis, dtype=dtype, keepdims=keepdims)


def _max(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    return _maximum_reduce(x, axis=axis, keepdims=keepdims)


def _min(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    return _minimum_reduce(x, axis=axis, keepdims=keepdims)


def _mean(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    if x.dtype.kind != "f":
        return np.mean(x, axis=axis, keepdims=keepdims)
    return mean(x, axis=axis, keepdims=keepdims)


def _take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    if is_recorded(indices):  # NumPy asks the table only
        return FUNCTIONS[np.take](x, indices, axis)
    return np.take(x, indices, axis=axis)


def _cumulative(ufunc: np.ufunc, initial: int) -> Any:
    def cumulative(
        x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
    ) -> Any:
        if axis is None and x.ndim > 1:
            raise ValueError("expected an axis for an array of more than one dimension")
        axis = 0 if axis is None else axis
        results: Any = ufunc.accumulate(x, axis=axis, dtype=dtype)
        if not include_initial:
            return results
        shape = [1 if k == axis % x.ndim else n for k, n in enumerate(x.shape)]
        return np.concatenate([np.full(shape, initial, results.dtype), results], axis=axis)

    return cumulative


def _clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    """Compute `clip` by maximum and minimum; array-api-compat's writes into an array of its own."""
    if x.dtype.kind not in "fiu":
        return fast_numpy.plain.clip(x, min, max)
    if min is None and max is None:
        return np.positive(x)
    limits = (None, None) if x.dtype.kind == "f" else _integer_limits(x.dtype)
    if min is not None:
        x = np.maximum(x, _bound(min, x.dtype, limits))
    return x if max is None else np.minimum(x, _bound(max, x.dtype, limits))


def _integer_limits(dtype: Any) -> tuple[int, int]:
    information = np.iinfo(dtype)
    return int(information.min), int(information.max)


def _bound(bound: Any, dtype: Any, limits: Any) -> Any:
    """Return a bound in the dtype of the array, within its range."""
    if hasattr(bound, "dtype"):
        return bound if bound.dtype == dtype else bound.astype(dtype)
    low, high = limits
    return bound if low is None else builtins.min(builtins.max(int(bound), low), high)


def _reshape(x: Any, /, shape: tuple[int, ...]) -> Any:
    return x.reshape(shape)


def _astype(x: Any, dtype: Any, /) -> Any:
    return x.astype(dtype)


def _where(condition: Any, x: Any, y: Any, /) -> Any:
    """Compute `where(condition, x, 0.0)` by the bits of x, so that NaN and infinity become 0."""
    if (
        is_zero(y)
        and getattr(x, "dtype", None) in BITS
        and condition.shape == x.shape
        and not (is_recorded(x) or is_recorded(condition))  # one operation, for a loop
    ):
        bits = condition.astype(BITS[x.dtype]) * x.view(BITS[x.dtype])
        return bits.view(x.dtype)
    return np.where(condition, x, y)


def _run_native(form: Any, *arguments: Any, **options: Any) -> Any:
    """Run the native form of a kernel, or record it as one operation."""
    recorder = next((a.recorder for a in _arrays(arguments, options) if is_recorded(a)), None)
    options["xp"] = fast_numpy.plain
    if recorder is None:
        return form(*arguments, **options)
    return recorder.run_native(form, arguments, options)


def _arrays(arguments: Any, options: Any) -> Any:
    for value in (*arguments, *options.values()):
        yield from value if isinstance(value, (list, tuple)) else (value,)


class FastNumpy(SimpleNamespace):
    """The namespace, filled at its first use: array-api-compat imports all of NumPy."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "plain" in vars(self):
            raise AttributeError(f"NumPy's namespace has no {name!r}")
        import array_api_compat.numpy as standard

        functions = {each: getattr(standard, each) for each in dir(standard)}
        vars(self).update(functions | FASTER | {"plain": standard})
        return getattr(self, name)


FASTER = {
    "sum": _sum,
    "max": _max,
    "min": _min,
    "mean": _mean,
    "reshape": _reshape,
    "astype": _astype,
    "where": _where,
    "cumulative_sum": _cumulative(np.add, 0),
    "cumulative_prod": _cumulative(np.multiply, 1),
    "take": _take,
    "clip": _clip,
    "run_native": _run_native,
}

fast_numpy = FastNumpy()

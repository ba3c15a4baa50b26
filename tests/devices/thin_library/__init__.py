"""A thin array library: NumPy's arrays in a class of its own, as strict as a device's.

It stands for the array library of somebody else, and so imports nothing of bp_arrays. It has what
training and the checks need of the array API standard. Its functions take its own arrays and
Python's numbers only, and NumPy cannot read its arrays unasked, as if they were on a GPU.
"""

from __future__ import annotations

import operator
import sys
import types

import numpy as np

__version__ = "1.0"

_PYTHON_VALUES = (bool, int, float, type(None))  # before `bool` becomes a dtype

bool = np.dtype("bool")
int8, int16, int32, int64 = (np.dtype(f"int{bits}") for bits in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64))
float16, float32, float64 = (np.dtype(f"float{bits}") for bits in (16, 32, 64))
pi, inf, nan, newaxis = np.pi, np.inf, np.nan, None


class Array:
    """An array on the one device there is, "cpu"."""

    device = "cpu"

    def __init__(self, values):
        self._values = np.asarray(values)

    dtype = property(lambda self: self._values.dtype)
    shape = property(lambda self: self._values.shape)
    ndim = property(lambda self: self._values.ndim)
    size = property(lambda self: self._values.size)
    T = property(lambda self: Array(self._values.T))
    mT = property(lambda self: Array(self._values.mT))

    def __array_namespace__(self, api_version=None):
        return sys.modules[__name__]

    def __array__(self, dtype=None, copy=None):
        raise TypeError("an array of thin_library does not become one of NumPy unasked")

    __array_ufunc__ = None  # so that a NumPy operand raises, too

    def __dlpack__(self, **options):
        return self._values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._values.__dlpack_device__()

    def to_device(self, device, /, *, stream=None):
        return asarray(self, device=device)

    def __getitem__(self, key):
        parts = key if isinstance(key, tuple) else (key,)
        return Array(self._values[tuple(_inner(part, index=True) for part in parts)])

    def __bool__(self):
        return self._values.__bool__()

    def __float__(self):
        return self._values.__float__()

    def __int__(self):
        return self._values.__int__()

    def __index__(self):
        return self._values.__index__()

    def __len__(self):
        return len(self._values)

    def __repr__(self):
        return f"thin_library.{self._values!r}"

    __hash__ = None


def _inner(value, index=False):
    """The NumPy array within; Python's numbers as they are; anything else is refused."""
    if isinstance(value, Array):
        return value._values
    if type(value) in _PYTHON_VALUES or isinstance(value, np.dtype):
        return value
    if index and (value is Ellipsis or isinstance(value, slice)):
        return value
    raise TypeError(f"expected an array of thin_library, got a {type(value).__qualname__}")


def _operator(function, *, reflected=False):
    def method(self, other):
        one, two = self._values, _inner(other)
        return Array(function(two, one) if reflected else function(one, two))

    return method


_BINARY = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift"
for _name in _BINARY.split():
    _function = getattr(operator, f"__{_name}__")
    setattr(Array, f"__{_name}__", _operator(_function))
    setattr(Array, f"__r{_name}__", _operator(_function, reflected=True))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Array, f"__{_name}__", _operator(getattr(operator, _name)))
for _name in ("neg", "pos", "abs", "invert"):
    _function = getattr(operator, f"__{_name}__")
    setattr(Array, f"__{_name}__", lambda self, f=_function: Array(f(self._values)))


def _wrapped(name):
    """NumPy's function of that name, from arrays of this library to arrays of this library."""
    function = getattr(np, name)

    def wrapper(*args, **options):
        _check_device(options.pop("device", None))
        inner = [tuple(map(_inner, a)) if isinstance(a, (tuple, list)) else _inner(a) for a in args]
        return Array(function(*inner, **options))

    wrapper.__name__ = name
    return wrapper


_FUNCTIONS = """
    abs acos add all any arange argmax argmin argsort astype bitwise_and bitwise_left_shift
    bitwise_or bitwise_right_shift bitwise_xor broadcast_to ceil clip concat cos cumulative_sum
    divide empty empty_like equal exp expand_dims expm1 eye flip floor full full_like greater
    greater_equal isfinite isinf isnan less less_equal linspace log log1p log2 logaddexp
    logical_and logical_not logical_or matmul matrix_transpose max maximum mean min minimum
    moveaxis multiply negative not_equal ones ones_like permute_dims pow prod remainder reshape
    round searchsorted sign sin sqrt square squeeze stack std subtract sum take take_along_axis
    tanh tensordot var vecdot where zeros zeros_like
"""
for _name in _FUNCTIONS.split():
    globals()[_name] = _wrapped(_name)


def asarray(obj, /, *, dtype=None, device=None, copy=None):
    """An array of what is no array yet, or of one of this library."""
    _check_device(device)
    values = obj._values if isinstance(obj, Array) else obj
    return Array(np.array(values, dtype=dtype, copy=copy))


def isdtype(dtype, kind):
    return np.isdtype(dtype, kind)


def finfo(type, /):
    """The limits of a dtype, as Python's numbers."""
    limits = np.finfo(type)
    names = ("bits", "eps", "max", "min", "smallest_normal")
    return types.SimpleNamespace(
        **{name: np.asarray(getattr(limits, name)).item() for name in names}
    )


def result_type(*arrays_and_dtypes):
    return np.result_type(*map(_inner, arrays_and_dtypes))


def __array_namespace_info__():
    return _Info()


class _Info:
    def default_device(self):
        return "cpu"

    def devices(self):
        return ["cpu"]


def _check_device(device):
    if device not in (None, "cpu"):
        raise ValueError(f"thin_library has the device 'cpu' only, not {device!r}")

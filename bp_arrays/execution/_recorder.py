"""Finding out which operations a computation does, by letting it run on arrays without numbers.

NumPy hands an operation over to any operand that asks for it (`__array_ufunc__`, NEP 13, and
`__array_function__`, NEP 18). `Recorded` asks: it knows its shape and dtype, works out those of the
result, and notes the operation down. So layers and losses run as they are, once, and leave the
list of what they do.

What depends on the numbers themselves cannot be written down: `if x[0] > 0`, `float(x)`, a mask
that selects. That raises NotRecordable, and such a computation runs as it stands every time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from bp_arrays.execution._instructions import Instruction, Kind, Slot, copied
from bp_arrays.typing import HostArray, Shape


class NotRecordable(Exception):
    """The computation does something that depends on the numbers, or changes an array."""


DATA_DEPENDENT = {
    "nonzero", "flatnonzero", "argwhere", "unique", "unique_all", "unique_counts",
    "unique_inverse", "unique_values", "extract", "compress", "trim_zeros", "union1d",
    "intersect1d", "setdiff1d", "setxor1d", "delete", "repeat", "bincount",
}  # fmt: skip
"""Functions whose result has a shape that the numbers decide."""

SLOW_WITH_ONE_NUMBER = {np.maximum, np.minimum}
"""Functions that NumPy computes three times as fast for two arrays as for an array and a number."""

WIDENED = 2**14
"""Elements up to which a number for them is made an array of the whole shape; else of a row."""

POWERS = {0.5: np.sqrt, 1: np.positive, 2: np.square, -1: np.reciprocal}
"""What NumPy's own ** does for these exponents."""


class StepRecorder:
    """Keeps the list of operations, and names the arrays in it."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self._count = 0

    def argument(self, shape: Shape, dtype: Any) -> Recorded:
        """An array that is passed at every run, each time in other memory."""
        return Recorded(self, self._slot("argument", shape, np.dtype(dtype)))

    def memory(self, shape: Shape, dtype: Any) -> Recorded:
        """An array in memory of the caller's, which the program is bound to."""
        return Recorded(self, self._slot("memory", shape, np.dtype(dtype)))

    def constant(self, value: Any) -> Recorded:
        """An array that is what it is."""
        array = np.asarray(value)
        slot = self._slot("constant", array.shape, array.dtype)
        slot.constant = array
        return Recorded(self, slot)

    def view(
        self, of: Recorded, function: Callable[[HostArray], Any], *, contiguous: bool
    ) -> Recorded:
        """A part of an array, or the same numbers in another arrangement; nothing is computed."""
        like = function(np.empty(of.shape, of.dtype))  # memory that is never touched
        if of.is_argument:  # it has other memory at every run
            slot = self._slot("argument_view", like.shape, like.dtype)
            slot.contiguous = False
            self.instructions.append(Instruction(function, (of.slot,), slot, assigned=True))
            return Recorded(self, slot)
        slot = self._slot("view", like.shape, like.dtype)
        slot.contiguous = contiguous
        of.slot.root.has_views = True
        slot.lies_in(of.slot, function)
        return Recorded(self, slot)

    def result(
        self,
        function: Callable[..., Any],
        operands: Sequence[Any],
        shape: Shape,
        dtype: Any,
        options: dict[str, Any] | None = None,
        *,
        copied: bool = False,
        elementwise: bool = False,
    ) -> Recorded:
        """Note an operation down; returns what it will have computed."""
        slot = self._slot("result", shape, np.dtype(dtype))
        self.instructions.append(
            Instruction(
                function,
                self._noted(operands),
                slot,
                options or {},
                copied=copied,
                elementwise=elementwise,
            )
        )
        return Recorded(self, slot)

    def anything(
        self, function: Callable[..., Any], operands: Sequence[Any], options: dict[str, Any]
    ) -> Recorded:
        """Note down a function of which only this is known: it makes one array of its operands."""
        if getattr(function, "__name__", "") in DATA_DEPENDENT or _recorded(options.values()):
            raise NotRecordable(f"the function {function}")
        if options.get("out") is not None:  # numbers would go into an array that is a constant here
            raise NotRecordable(f"{getattr(function, '__name__', function)} with out=")
        with np.errstate(all="ignore"):
            like = function(*_stand_ins(operands, whole=True), **options)
        if not isinstance(like, (np.ndarray, np.generic)):
            raise NotRecordable(f"{function} gives {type(like).__name__}")
        return self.result(function, operands, like.shape, like.dtype, options, copied=True)

    def _noted(self, operands: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(self._operand(operand) for operand in operands)

    def _operand(self, operand: Any) -> Any:
        if isinstance(operand, Recorded):
            return operand.slot
        if isinstance(operand, (np.ndarray, np.generic)):
            return self.constant(operand).slot
        if isinstance(operand, (list, tuple)):
            return type(operand)(self._noted(operand))
        return operand

    def _slot(self, kind: Kind, shape: Shape, dtype: np.dtype[Any]) -> Slot:
        self._count += 1
        return Slot(kind, self._count, tuple(shape), dtype)


class Recorded(NDArrayOperatorsMixin):
    """An array without numbers that notes down what is done with it.

    Parameters
    ----------
    recorder : StepRecorder
    slot : Slot
    """

    def __init__(self, recorder: StepRecorder, slot: Slot) -> None:
        self.recorder, self.slot = recorder, slot

    @property
    def is_argument(self) -> bool:
        """True if its memory is another one at every run."""
        return self.slot.kind in ("argument", "argument_view")

    @property
    def shape(self) -> Shape:
        return self.slot.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.slot.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    # -- the same numbers in another arrangement -----------------------------------------------

    @property
    def T(self) -> Recorded:
        return self.recorder.view(self, np.transpose, contiguous=self.ndim < 2)

    @property
    def mT(self) -> Recorded:
        return self.recorder.view(self, np.matrix_transpose, contiguous=False)

    def reshape(self, *shape: Any) -> Recorded:
        new = shape[0] if len(shape) == 1 else shape
        if self.is_argument or self.slot.contiguous:
            return self.recorder.view(self, lambda a: a.reshape(new), contiguous=True)
        return self.recorder.anything(np.reshape, (self, new), {})

    def view(self, dtype: Any) -> Recorded:
        if np.dtype(dtype).itemsize != self.dtype.itemsize:
            raise NotRecordable("a view with elements of another size")
        return self.recorder.view(self, lambda a: a.view(dtype), contiguous=self.slot.contiguous)

    def __getitem__(self, key: Any) -> Recorded:
        parts = key if isinstance(key, tuple) else (key,)
        if all(part is None or isinstance(part, (int, slice, type(...))) for part in parts):
            whole_rows = isinstance(key, slice) and key.step in (None, 1)
            contiguous = whole_rows and self.slot.contiguous
            return self.recorder.view(self, lambda a: a[key], contiguous=contiguous)
        if any(getattr(part, "dtype", None) == np.bool_ for part in parts):
            raise NotRecordable("a mask that selects")
        return self.recorder.anything(_picked, (self, *parts), {})

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Recorded]:
        return (self[k] for k in range(len(self)))

    # -- new numbers ---------------------------------------------------------------------------

    def astype(self, dtype: Any) -> Recorded:
        if np.dtype(dtype) == self.dtype:
            return self
        return self.recorder.result(copied, (self,), self.shape, dtype, copied=True)

    def __pow__(self, exponent: Any) -> Any:
        if isinstance(exponent, (int, float)) and exponent in POWERS and self.dtype.kind == "f":
            found: Any = POWERS[exponent](self)
            return found
        raised: Any = np.power(self, exponent)
        return raised

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any
    ) -> Recorded:
        if out is not None:
            return self._written_over(ufunc, method, inputs, out, options)
        if method == "reduce":
            return self._reduced(ufunc, *inputs, **options)
        if method != "__call__" or ufunc.nout != 1:
            raise NotRecordable(f"{ufunc.__name__}.{method}")
        if options:
            return self.recorder.anything(ufunc, inputs, options)
        if ufunc is np.matmul:
            return self._product(*inputs)
        if ufunc.signature is not None:
            return self.recorder.anything(ufunc, inputs, {})
        with np.errstate(all="ignore"):
            dtype = ufunc(*_stand_ins(inputs, whole=False)).dtype
        shape = np.broadcast_shapes(*(getattr(x, "shape", ()) for x in inputs))
        operands = _with_constants(ufunc, inputs, shape)
        return self.recorder.result(ufunc, operands, shape, dtype, elementwise=True)

    @staticmethod
    def _written_over(
        ufunc: np.ufunc, method: str, inputs: Any, out: Any, options: dict[str, Any]
    ) -> Recorded:
        """Record `x += y`: the array object stands for the new numbers from here on.

        That is what NumPy does only where no other array shares the memory of x.
        """
        target: Recorded = out[0]
        whole = isinstance(target, Recorded) and target.slot.kind == "result"
        if not whole or target.slot.has_views:
            raise NotRecordable(f"{ufunc.__name__} written into memory that others may read")
        result: Recorded = getattr(ufunc, method)(*inputs, **options)
        if result.shape != target.shape or result.dtype != target.dtype:
            raise NotRecordable(f"{ufunc.__name__} written into an array of another kind")
        target.slot = result.slot
        return target

    def _product(self, a: Any, b: Any) -> Recorded:
        """a b; `dot` finds its way to the same BLAS call sooner than `matmul`."""
        if a.ndim != 2 or b.ndim != 2 or a.dtype != b.dtype or a.dtype.kind != "f":
            return self.recorder.anything(np.matmul, (a, b), {})
        if a.shape[1] != b.shape[0]:
            raise NotRecordable(f"the product of {a.shape} and {b.shape}")
        return self.recorder.result(np.dot, (a, b), (a.shape[0], b.shape[1]), a.dtype)

    def _reduced(
        self,
        ufunc: np.ufunc,
        x: Recorded,
        *,
        axis: Any = 0,
        dtype: Any = None,
        keepdims: bool = False,
        **others: Any,
    ) -> Recorded:
        if others:
            raise NotRecordable(f"{ufunc.__name__}.reduce with {', '.join(others)}")
        options = {"axis": axis, "keepdims": keepdims}
        like = ufunc.reduce(_stand_in(x, whole=False), dtype=dtype, axis=None)
        axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        gone = {k % x.ndim for k in axes}
        shape = [1 if k in gone else n for k, n in enumerate(x.shape) if keepdims or k not in gone]
        return self.recorder.result(ufunc.reduce, (x,), tuple(shape), like.dtype, options)

    def __array_function__(
        self, function: Callable[..., Any], types: Any, operands: Any, options: Any
    ) -> Recorded:
        if function in VIEWS:
            return VIEWS[function](*operands, **options)
        return self.recorder.anything(function, operands, options)

    def __array__(self, *of: Any, **options: Any) -> Any:
        raise NotRecordable("numbers that are asked for")

    def __bool__(self) -> bool:
        raise NotRecordable("a decision by a value")

    __float__ = __int__ = __index__ = __complex__ = __bool__


VIEWS: dict[Callable[..., Any], Callable[..., Recorded]] = {
    np.transpose: lambda x, axes=None: x.recorder.view(
        x, lambda a: np.transpose(a, axes), contiguous=False
    ),
    np.matrix_transpose: lambda x: x.mT,
    np.reshape: lambda x, shape: x.reshape(shape),
    np.expand_dims: lambda x, axis: x.recorder.view(
        x, lambda a: np.expand_dims(a, axis), contiguous=x.slot.contiguous
    ),
    np.squeeze: lambda x, axis: x.recorder.view(
        x, lambda a: np.squeeze(a, axis), contiguous=x.slot.contiguous
    ),
    np.broadcast_to: lambda x, shape: x.recorder.view(
        x, lambda a: np.broadcast_to(a, shape), contiguous=False
    ),
}
"""NumPy's functions that compute nothing."""


def _picked(array: HostArray, *key: Any) -> Any:
    return array[key if len(key) > 1 else key[0]]


def _stand_in(operand: Any, *, whole: bool) -> Any:
    """An array to try an operation on: of the whole shape in the memory of one, or 1 × 1.

    Ones, which are in the domain of most functions; zeros where they may be indices.
    """
    if not isinstance(operand, Recorded):
        return operand
    one = np.full((1,) * operand.ndim, operand.dtype.kind == "f", operand.dtype)
    return np.broadcast_to(one.reshape(()), operand.shape) if whole else one


def _stand_ins(operands: Sequence[Any], *, whole: bool) -> list[Any]:
    return [
        type(x)(_stand_ins(x, whole=whole))
        if isinstance(x, (list, tuple))
        else _stand_in(x, whole=whole)
        for x in operands
    ]


def _recorded(values: Any) -> bool:
    return any(isinstance(value, Recorded) for value in values)


def _with_constants(ufunc: np.ufunc, inputs: Sequence[Any], shape: Shape) -> list[Any]:
    """The operands with Python's numbers as arrays of the dtype they are taken as."""
    kinds: Any = [type(x) if type(x) in (int, float) else np.dtype(x.dtype) for x in inputs]
    dtypes = ufunc.resolve_dtypes((*kinds, None))
    wide: Shape = ()
    if ufunc in SLOW_WITH_ONE_NUMBER:
        wide = shape if math.prod(shape) <= WIDENED else shape[-1:]
    return [
        np.full(wide, x, dtype) if type(x) in (int, float) else x
        for x, dtype in zip(inputs, dtypes, strict=False)
    ]

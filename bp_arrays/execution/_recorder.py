"""`StepRecorder`: record the operations of a computation by a run on arrays without numbers.

NumPy dispatches an operation to any operand that defines `__array_ufunc__` (NEP 13) or
`__array_function__` (NEP 18). `Recorded` defines them: it has a shape and a dtype, determines those
of the result, and records the operation. So layers and losses run once, unchanged, and leave the
list of their operations.

An operation that depends on the numbers cannot be recorded: `if x[0] > 0`, `float(x)`, a boolean
index. It raises NotRecordable, and the computation runs operation by operation every time.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from bp_arrays.execution._instructions import Instruction, Kind, Slot, copied, is_view
from bp_arrays.execution._recorded_functions import FUNCTIONS, stand_in
from bp_arrays.typing import HostArray, Shape


class NotRecordable(Exception):
    """The computation depends on the values of arrays, or changes an array in place."""


DATA_DEPENDENT = {
    "nonzero", "flatnonzero", "argwhere", "unique", "unique_all", "unique_counts",
    "unique_inverse", "unique_values", "extract", "compress", "trim_zeros", "union1d",
    "intersect1d", "setdiff1d", "setxor1d", "delete", "repeat", "bincount",
}  # fmt: skip
"""Functions whose result has a shape that depends on the values."""

SLOW_WITH_ONE_NUMBER = {np.maximum, np.minimum}
"""Functions that NumPy computes three times as fast for two arrays as for an array and a number."""

WIDENED = 2**14
"""Maximum elements for which their number operand becomes an array of the whole shape, else of a
row."""

POWERS = {0.5: np.sqrt, 1: np.positive, 2: np.square, -1: np.reciprocal}
"""The functions that NumPy calls for ** with these exponents."""


class StepRecorder:
    """The list of recorded operations, and the numbering of their arrays."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self._count = 0

    def argument(self, shape: Shape, dtype: Any) -> Recorded:
        """Return an array that is passed at every run, each time in other memory."""
        return Recorded(self, self._slot("argument", shape, np.dtype(dtype)))

    def memory(self, shape: Shape, dtype: Any) -> Recorded:
        """Return an array in memory of the caller, to which the program is bound."""
        return Recorded(self, self._slot("memory", shape, np.dtype(dtype)))

    def constant(self, value: Any) -> Recorded:
        """Return a constant array."""
        array = np.asarray(value)
        slot = self._slot("constant", array.shape, array.dtype)
        slot.constant = array
        return Recorded(self, slot)

    def view(self, base: Recorded, function: Callable[[HostArray], Any]) -> Recorded:
        """Return a view of an array: a part, or another shape or order of axes."""
        like = function(base.slot.layout())
        if base.is_argument:  # it has other memory at every run
            slot = self._slot("argument_view", like.shape, like.dtype)
            slot.contiguous = False
            self.instructions.append(Instruction(function, (base.slot,), slot, assigned=True))
            return Recorded(self, slot)
        slot = self._slot("view", like.shape, like.dtype)
        slot.contiguous = like.flags.c_contiguous
        base.slot.root.has_views = True
        slot.lies_in(base.slot, function)
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
        """Record an operation and return its result."""
        slot = self._slot("result", shape, np.dtype(dtype))
        self.instructions.append(
            Instruction(
                function,
                self._operands(operands),
                slot,
                options or {},
                copied=copied,
                elementwise=elementwise,
            )
        )
        return Recorded(self, slot)

    def run_native(self, form: Callable[..., Any], operands: Any, options: Any) -> Any:
        """Record a native form, which returns an array or a tuple of arrays, as one operation.

        If it has a parameter `out`, its results are written straight into planned memory. A form
        that returns NotImplemented leaves the call to the standard form.
        """
        stand_ins = [_stand_in_for_native(x) for x in operands]
        named = {key: _stand_in_for_native(value) for key, value in options.items()}
        like = form(*stand_ins, **named)
        if like is NotImplemented:
            return like
        one = isinstance(like, (np.ndarray, np.generic))
        likes = (like,) if one else tuple(like)
        if not likes or not all(isinstance(part, (np.ndarray, np.generic)) for part in likes):
            raise NotRecordable(f"a native form that returns {type(like).__name__}")
        results = tuple(self._slot("result", part.shape, part.dtype) for part in likes)
        writes = "out" in inspect.signature(form).parameters
        arguments, keywords = self._operands(operands), self._named(options)
        if writes or one:
            self.instructions.append(
                Instruction(
                    form, arguments, results[0], keywords, copied=not writes, also=results[1:]
                )
            )
        else:  # a tuple of new arrays, which exists during a run only
            new = self._slot("argument_view", (), results[0].dtype)
            self.instructions.append(Instruction(form, arguments, new, keywords, assigned=True))
            self.instructions += [
                Instruction(operator.getitem, (new, k), result, copied=True)
                for k, result in enumerate(results)
            ]
        arrays = tuple(Recorded(self, slot) for slot in results)
        return arrays[0] if one else arrays

    def _named(self, options: dict[str, Any]) -> dict[str, Any]:
        return {key: self._operand(value) for key, value in options.items()}

    def anything(
        self, function: Callable[..., Any], operands: Sequence[Any], options: dict[str, Any]
    ) -> Recorded:
        """Record any function of NumPy that returns one array."""
        if _depends_on_data(function, operands, options) or _recorded(options.values()):
            raise NotRecordable(f"the function {function}")
        if options.get("out") is not None:  # it would write into a constant of the program
            raise NotRecordable(f"{getattr(function, '__name__', function)} with out=")
        with np.errstate(all="ignore"):
            like = function(*_stand_ins(operands), **options)
        if not isinstance(like, (np.ndarray, np.generic)):
            raise NotRecordable(f"{function}, which returns {type(like).__name__}")
        return self.result(function, operands, like.shape, like.dtype, options, copied=True)

    def _operands(self, operands: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(self._operand(operand) for operand in operands)

    def _operand(self, operand: Any) -> Any:
        if isinstance(operand, Recorded):
            return operand.slot
        if isinstance(operand, (np.ndarray, np.generic)):
            return self.constant(operand).slot
        if type(operand) in (list, tuple):  # a named tuple is a value, such as `Windows`
            return type(operand)(self._operands(operand))
        return operand

    def _slot(self, kind: Kind, shape: Shape, dtype: np.dtype[Any]) -> Slot:
        self._count += 1
        return Slot(kind, self._count, tuple(shape), dtype)


class Recorded(NDArrayOperatorsMixin):
    """An array without numbers that records the operations on it.

    Parameters
    ----------
    recorder : StepRecorder
    slot : Slot
    """

    def __init__(self, recorder: StepRecorder, slot: Slot) -> None:
        self.recorder, self.slot = recorder, slot

    @property
    def is_argument(self) -> bool:
        """True if its memory is different at every run."""
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

    # -- views ---------------------------------------------------------------------------------

    @property
    def T(self) -> Recorded:
        return self.recorder.view(self, np.transpose)

    @property
    def mT(self) -> Recorded:
        return self.recorder.view(self, np.matrix_transpose)

    def reshape(self, *shape: Any) -> Recorded:
        new = shape[0] if len(shape) == 1 else shape
        base = self
        if not self.is_argument and not is_view(self.slot.layout(), new):  # a copy in order
            base = self.recorder.result(copied, (self,), self.shape, self.dtype, copied=True)
        return self.recorder.view(base, lambda a: a.reshape(new))

    def view(self, dtype: Any) -> Recorded:
        if np.dtype(dtype).itemsize != self.dtype.itemsize:
            raise NotRecordable("a view with elements of another size")
        return self.recorder.view(self, lambda a: a.view(dtype))

    def __getitem__(self, key: Any) -> Recorded:
        parts = key if isinstance(key, tuple) else (key,)
        if all(part is None or isinstance(part, (int, slice, type(...))) for part in parts):
            # with "...", the part is an array even where it is one number
            part = (*parts, ...) if ... not in parts else key
            return self.recorder.view(self, lambda a: a[part])
        if any(getattr(part, "dtype", None) == np.bool_ for part in parts):
            raise NotRecordable("a boolean index")
        return self.recorder.anything(_indexed, (self, *parts), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        raise NotRecordable("an assignment to a part of an array")

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Recorded]:
        return (self[k] for k in range(len(self)))

    # -- operations ----------------------------------------------------------------------------

    def astype(self, dtype: Any) -> Recorded:
        if np.dtype(dtype) == self.dtype:
            return self
        return self.recorder.result(copied, (self,), self.shape, dtype, copied=True)

    def __pow__(self, exponent: Any) -> Any:
        if isinstance(exponent, (int, float)) and exponent in POWERS and self.dtype.kind == "f":
            result: Any = POWERS[exponent](self)
        else:
            result = np.power(self, exponent)
        return result

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any
    ) -> Recorded:
        if out is not None:
            return self._in_place(ufunc, method, inputs, out, options)
        if method == "reduce":
            return self._reduced(ufunc, *inputs, **options)
        if method == "accumulate":
            return self._accumulated(ufunc, *inputs, **options)
        if method != "__call__" or ufunc.nout != 1:
            raise NotRecordable(f"{ufunc.__name__}.{method}")
        if "where" in options:  # the other elements have no value
            return self.recorder.anything(ufunc, inputs, options)
        if ufunc is np.matmul and not options:
            return self._product(*inputs)
        if ufunc.signature is not None or options:
            return self._with_options(ufunc, inputs, options)
        with np.errstate(all="ignore"):
            dtype = ufunc(*_stand_ins(inputs, whole=False)).dtype
        shape = np.broadcast_shapes(*(getattr(x, "shape", ()) for x in inputs))
        operands = _with_constants(ufunc, inputs, shape)
        return self.recorder.result(ufunc, operands, shape, dtype, elementwise=True)

    @staticmethod
    def _in_place(
        ufunc: np.ufunc, method: str, inputs: Any, out: Any, options: dict[str, Any]
    ) -> Recorded:
        """Record `x += y`: from now on the array object stands for the result.

        This equals NumPy's behavior only if no other array shares the memory of x.
        """
        target: Recorded = out[0]
        whole = isinstance(target, Recorded) and target.slot.kind == "result"
        if not whole or target.slot.has_views:
            raise NotRecordable(f"{ufunc.__name__} written into memory that other arrays may share")
        result: Recorded = getattr(ufunc, method)(*inputs, **options)
        if result.shape != target.shape or result.dtype != target.dtype:
            raise NotRecordable(f"{ufunc.__name__} written into an array of another kind")
        target.slot = result.slot
        return target

    def _with_options(self, ufunc: np.ufunc, inputs: Any, options: dict[str, Any]) -> Recorded:
        """Record a ufunc of vectors or matrices, or with options such as `axis` or `dtype`."""
        if _recorded(options.values()):
            raise NotRecordable(f"{ufunc.__name__} with an array as an option")
        with np.errstate(all="ignore"):
            like = ufunc(*_stand_ins(inputs), **options)
        return self.recorder.result(ufunc, inputs, like.shape, like.dtype, options)

    def _product(self, a: Any, b: Any) -> Recorded:
        """Record the product a b; of matrices by `dot`, which calls the same BLAS faster."""
        if a.ndim < 2 or b.ndim < 2 or a.dtype != b.dtype or a.dtype.kind != "f":
            return self._with_options(np.matmul, (a, b), {})
        if a.shape[-1] != b.shape[-2]:
            raise NotRecordable(f"the product of {a.shape} and {b.shape}")
        matrices = a.ndim == b.ndim == 2
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        shape = (*batch, a.shape[-2], b.shape[-1])
        return self.recorder.result(np.dot if matrices else np.matmul, (a, b), shape, a.dtype)

    def _accumulated(
        self, ufunc: np.ufunc, x: Recorded, axis: int = 0, dtype: Any = None
    ) -> Recorded:
        like = ufunc.accumulate(stand_in(x), axis=axis, dtype=dtype)
        options = {"axis": axis}
        return self.recorder.result(ufunc.accumulate, (x,), like.shape, like.dtype, options)

    def _reduced(
        self,
        ufunc: np.ufunc,
        x: Recorded,
        *,
        axis: Any = 0,
        dtype: Any = None,
        keepdims: bool = False,
        **options: Any,
    ) -> Recorded:
        if options:
            raise NotRecordable(f"{ufunc.__name__}.reduce with {', '.join(options)}")
        options = {"axis": axis, "keepdims": keepdims}
        like = ufunc.reduce(stand_in(x, whole=False), dtype=dtype, axis=None)
        axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        reduced = {k % x.ndim for k in axes}
        shape = [
            1 if k in reduced else n for k, n in enumerate(x.shape) if keepdims or k not in reduced
        ]
        return self.recorder.result(ufunc.reduce, (x,), tuple(shape), like.dtype, options)

    def __array_function__(
        self, function: Callable[..., Any], types: Any, operands: Any, options: Any
    ) -> Any:
        form = FUNCTIONS.get(function)
        recorded = NotImplemented if form is None else form(*operands, **options)
        if recorded is not NotImplemented:
            return recorded
        return self.recorder.anything(function, operands, options)

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise NotRecordable("a conversion to NumPy")

    def __bool__(self) -> bool:
        raise NotRecordable("a branch on a value")

    __float__ = __int__ = __index__ = __complex__ = __bool__


def _indexed(array: HostArray, *key: Any) -> Any:
    return array[key if len(key) > 1 else key[0]]


def _stand_ins(operands: Sequence[Any], *, whole: bool = True) -> list[Any]:
    return [
        type(x)(_stand_ins(x, whole=whole))
        if isinstance(x, (list, tuple))
        else stand_in(x, whole=whole)
        for x in operands
    ]


def _stand_in_for_native(value: Any) -> Any:
    """Return a whole array, as compiled code may expect contiguous memory."""
    if type(value) in (list, tuple):
        return type(value)(_stand_in_for_native(part) for part in value)
    return np.ascontiguousarray(stand_in(value)) if isinstance(value, Recorded) else value


def _depends_on_data(function: Callable[..., Any], operands: Any, options: Any) -> bool:
    """Return True if the shape of a function's result depends on values."""
    name = getattr(function, "__name__", "")
    if name == "repeat":  # a number of repeats is known, an array of them is not
        repeats = operands[1] if len(operands) > 1 else options.get("repeats")
        return not isinstance(repeats, int)
    return name in DATA_DEPENDENT


def _recorded(values: Any) -> bool:
    return any(isinstance(value, Recorded) for value in values)


def _with_constants(ufunc: np.ufunc, inputs: Sequence[Any], shape: Shape) -> list[Any]:
    """Return the operands, Python numbers as arrays of the dtype to which NumPy converts them."""
    kinds: Any = [type(x) if type(x) in (int, float) else np.dtype(x.dtype) for x in inputs]
    dtypes = ufunc.resolve_dtypes((*kinds, None))
    wide: Shape = ()
    if ufunc in SLOW_WITH_ONE_NUMBER:
        wide = shape if math.prod(shape) <= WIDENED else shape[-1:]
    return [
        np.full(wide, x, dtype) if type(x) in (int, float) else x
        for x, dtype in zip(inputs, dtypes, strict=False)
    ]

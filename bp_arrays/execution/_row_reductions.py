"""Sums and maxima of rows for compiled loops, with the bits of NumPy's. Imported with Numba only.

NumPy adds the numbers of a row in eight partial sums, in pairs of halves above 128 numbers
(pairwise summation). The same additions in the same order give the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic

LANES, PAIRWISE = 8, 128
DEPTH = 128
"""Stack size: at least two entries per halving of an int64 length."""


def _vector_loop(context: Any, builder: Any, signature: Any, arguments: Any, combine: Any) -> Any:
    """Emit a loop over vectors of eight numbers, start, start + 8, ..., and return the last state.

    `combine(builder, state, vector)` returns the new state, a list of vectors.
    """
    array_type = signature.args[0]
    array = context.make_array(array_type)(context, builder, arguments[0])
    start, count = arguments[1:]
    number = context.get_value_type(array_type.dtype)
    vector = ir.VectorType(number, LANES)
    step = ir.Constant(count.type, LANES)

    def load(index: Any) -> Any:
        place = builder.gep(array.data, [builder.add(start, index)])
        value = builder.load(builder.bitcast(place, vector.as_pointer()))
        value.align = array_type.dtype.bitwidth // 8
        return value

    initial = combine(builder, None, load(ir.Constant(count.type, 0)))
    before = builder.block
    head, body, end = (builder.append_basic_block(name) for name in ("head", "body", "end"))
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(count.type)
    index.add_incoming(step, before)
    state = []
    for value in initial:
        phi = builder.phi(value.type)
        phi.add_incoming(value, before)
        state.append(phi)
    builder.cbranch(builder.icmp_signed("<", index, count), body, end)
    builder.position_at_end(body)
    new = combine(builder, state, load(index))
    for phi, value in zip(state, new, strict=True):
        phi.add_incoming(value, body)
    index.add_incoming(builder.add(index, step), body)
    builder.branch(head)
    builder.position_at_end(end)
    return state


def _lanes(builder: Any, vector: Any) -> list[Any]:
    index = ir.IntType(32)
    return [builder.extract_element(vector, ir.Constant(index, k)) for k in range(LANES)]


@intrinsic  # type: ignore[untyped-decorator]
def eight_sums(typing_context: Any, array: Any, start: Any, count: Any) -> Any:
    """Sum `count` numbers, a multiple of eight, in eight partial sums."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def combine(builder: Any, state: Any, vector: Any) -> Any:
            return [vector] if state is None else [builder.fadd(state[0], vector)]

        sums = _lanes(builder, _vector_loop(context, builder, signature, arguments, combine)[0])
        while len(sums) > 1:
            sums = [builder.fadd(a, b) for a, b in zip(sums[::2], sums[1::2], strict=True)]
        return sums[0]

    return array.dtype(array, types.int64, types.int64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def eight_maxima(typing_context: Any, array: Any, start: Any, count: Any) -> Any:
    """Return the maximum of `count` numbers, a multiple of eight; NaN if one of them is NaN."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def combine(builder: Any, state: Any, vector: Any) -> Any:
            is_nan = builder.fcmp_unordered("uno", vector, vector)
            if state is None:
                return [vector, is_nan]
            largest, any_nan = state
            greater = builder.fcmp_ordered(">", vector, largest)
            return [builder.select(greater, vector, largest), builder.or_(any_nan, is_nan)]

        state = _vector_loop(context, builder, signature, arguments, combine)
        values, nans = (_lanes(builder, vector) for vector in state)
        while len(values) > 1:
            pairs = list(zip(values[::2], values[1::2], strict=True))
            values = [builder.select(builder.fcmp_ordered(">", a, b), a, b) for a, b in pairs]
            nans = [builder.or_(a, b) for a, b in zip(nans[::2], nans[1::2], strict=True)]
        return builder.select(nans[0], ir.Constant(values[0].type, float("nan")), values[0])

    return array.dtype(array, types.int64, types.int64), codegen


@njit(error_model="numpy", inline="always")  # type: ignore[untyped-decorator]
def part_sum(a: Any, start: int, count: int) -> Any:
    """Return the sum of at most 128 numbers."""
    if count < LANES:
        total = a.dtype.type(0.0)
        for k in range(start, start + count):
            total += a[k]
        return total
    whole = count - count % LANES
    total = eight_sums(a, start, whole)
    for k in range(start + whole, start + count):
        total += a[k]
    return total


@njit(error_model="numpy", inline="always")  # type: ignore[untyped-decorator]
def row_sum(a: Any) -> Any:
    """Return the sum of an array, as `numpy.add.reduce` computes it."""
    zero = a.dtype.type(0.0)  # with which NumPy begins: the sum of -0.0 is 0.0
    if a.size <= PAIRWISE:  # no call that is not inlined
        return zero + part_sum(a, 0, a.size)
    return zero + _pairwise(a)


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _pairwise(a: Any) -> Any:
    """Return the sum of more than 128 numbers; without recursion, which Numba cannot cache."""
    starts, counts = np.empty(DEPTH, np.int64), np.empty(DEPTH, np.int64)
    sums = np.empty(DEPTH, a.dtype)
    starts[0], counts[0], parts, known = 0, a.size, 1, 0
    while parts > 0:
        parts -= 1
        start, count = starts[parts], counts[parts]
        if count == 0:  # both halves are known
            known -= 1
            sums[known - 1] += sums[known]
        elif count <= PAIRWISE:
            sums[known] = part_sum(a, start, count)
            known += 1
        else:
            half = count // 2
            half -= half % LANES
            counts[parts] = 0
            starts[parts + 1], counts[parts + 1] = start + half, count - half
            starts[parts + 2], counts[parts + 2] = start, half
            parts += 3
    return sums[0]


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def row_maximum(a: Any) -> Any:
    """Return the maximum of an array; NaN if it contains one."""
    whole = a.size - a.size % LANES
    largest = a[0]
    if whole:
        largest = eight_maxima(a, 0, whole)
    for k in range(whole, a.size):
        if a[k] > largest or a[k] != a[k]:
            largest = a[k]
    return largest


@intrinsic  # type: ignore[untyped-decorator]
def _pointer(typing_context: Any, address: Any, dtype: Any) -> Any:
    """Return a number as a pointer to numbers of a dtype."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(dtype.dtype)(types.int64, dtype), codegen


@njit(error_model="numpy", inline="always")  # type: ignore[untyped-decorator]
def array_at(address: int, size: int, dtype: Any) -> Any:
    """Return the vector at an address: one array of addresses is a faster argument than many."""
    return carray(_pointer(address, dtype), size)
